"""Train the model: reads data/train.csv, writes model/ and metrics.json.

Runs the same under "mllock train" and by hand ("python train.py"). Same data, same params, same
packages: the same bytes, every time.
"""

import json
import os
import tomllib
from pathlib import Path

import joblib
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from evaluate import TARGET, evaluate

HERE = Path(__file__).parent


def read_params() -> dict:
    """The params of this run: mllock's file, or [train] params of mlproject.toml by hand."""
    if "MLLOCK_PARAMS" in os.environ:
        return json.loads(Path(os.environ["MLLOCK_PARAMS"]).read_text(encoding="utf-8"))
    return tomllib.loads((HERE / "mlproject.toml").read_text(encoding="utf-8"))["train"]["params"]


def fit(frame: pd.DataFrame, params: dict) -> HistGradientBoostingRegressor:
    model = HistGradientBoostingRegressor(
        l2_regularization=params["alpha"],
        max_depth=params["depth"],
        max_iter=params["rounds"],
        learning_rate=0.05,
        random_state=params["seed"],
        early_stopping=False,
    )
    return model.fit(frame.drop(columns=TARGET), frame[TARGET])


def main() -> None:
    params = read_params()
    train = pd.read_csv(HERE / "data/train.csv")
    test = pd.read_csv(HERE / "data/test.csv")
    # With many threads, sums are added in an order that varies, and so do the last bits.
    with threadpool_limits(limits=1):
        model = fit(train, params)
        metrics = evaluate(model, test)

    folder = HERE / "model"
    folder.mkdir(exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    features = [name for name in train.columns if name != TARGET]
    description = {"features": features, "target": TARGET}
    (folder / "features.json").write_text(json.dumps(description, indent=2) + "\n")
    (HERE / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(f"trained on {len(train)} wines: {metrics}")


if __name__ == "__main__":
    main()
