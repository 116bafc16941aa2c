"""How good a model is: the numbers of metrics.json. By hand: python evaluate.py"""

import json
from pathlib import Path

import joblib
import pandas as pd

TARGET = "quality"


def evaluate(model, frame: pd.DataFrame) -> dict[str, float]:
    """Metrics of `model` on `frame`, which has the features and the marks."""
    marks = frame[TARGET]
    errors = (model.predict(frame.drop(columns=TARGET)) - marks).abs()
    return {
        "mean_absolute_error": round(float(errors.mean()), 6),
        "within_one_mark": round(float((errors <= 1).mean()), 6),
        "rows": len(frame),
    }


if __name__ == "__main__":
    here = Path(__file__).parent
    found = evaluate(joblib.load(here / "model/model.joblib"), pd.read_csv(here / "data/test.csv"))
    print(json.dumps(found, indent=2))
