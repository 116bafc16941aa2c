"""One way to answer the questions of gates.py, in this process: prints seconds, peak, answers.

    python benchmarks/gates_ways.py mllock|mllock-keys|pandas|duckdb FOLDER csv|parquet

pandas and duckdb as their documentation would have it, and nothing cleverer.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

KEY, GROUP, TIME, LABEL = "id", "patient", "day", "label"
TEXTS = (GROUP, LABEL, "c0", "c1", "c2", "constant", "empty")


def mllock(folder: Path, ending: str) -> dict[str, Any]:
    import datetime as dt

    from mllock.gates.ask import ask
    from mllock.gates.open import open_table
    from mllock.spec.types import (
        ColumnsGate,
        DataSource,
        DriftGate,
        Environment,
        Gates,
        LeakageGate,
        Project,
        Spec,
    )

    roles: tuple[Any, ...] = ("train", "test")
    data = {
        role: DataSource(
            source=f"{role}.{ending}", role=role, key=(KEY,), group=(GROUP,), time=TIME, label=LABEL
        )
        for role in roles
    }
    spec = Spec(
        project=Project(name="benchmark"),
        environment=Environment(python="3.11"),
        data=data,
        gates=Gates(leakage=LeakageGate(), columns=ColumnsGate(), drift=DriftGate()),
    )
    answers = ask(spec, lambda name: open_table(name, data[name], folder), dt.date(2026, 1, 1))
    found = {result.gate: result for result in answers.declared}
    columns = {
        gate: sum(len(r.details.get("columns", ())) for r in answers.declared if r.gate == gate)
        for gate in ("columns.constant", "columns.missing")
    }
    return {
        "rows": found["leakage.rows"].rows,
        "normalised": found["leakage.normalised-rows"].rows,
        "keys": found["leakage.keys"].rows,
        "groups": found["leakage.groups"].rows,
        "time": found["leakage.time"].rows,
        "constant": columns["columns.constant"],
        "missing": columns["columns.missing"],
        "label": len(found["drift.label"].details["bins"]),
    }


def mllock_keys(folder: Path, ending: str) -> dict[str, Any]:
    import datetime as dt

    from mllock.gates.leakage import leakage_results
    from mllock.gates.open import open_table
    from mllock.gates.terms import Terms
    from mllock.spec.types import DataSource, Environment, LeakageGate, Project, Spec

    roles: tuple[Any, ...] = ("train", "test")
    data = {role: DataSource(source=role, role=role, key=(KEY,)) for role in roles}
    spec = Spec(project=Project(name="b"), environment=Environment(python="3.11"), data=data)
    tables = {name: open_table(name, source, folder) for name, source in data.items()}
    terms = Terms(severity="block", accept=(), day=dt.date(2026, 1, 1))
    results = leakage_results(spec, tables, LeakageGate(), terms)
    return {"keys": next(r.rows for r in results if r.gate == "leakage.keys")}


def pandas(folder: Path, ending: str) -> dict[str, Any]:
    import pandas as pd

    read = pd.read_csv if ending == "csv" else pd.read_parquet
    train, test = read(folder / f"train.{ending}"), read(folder / f"test.{ending}")
    columns = [name for name in test.columns if name != KEY]
    known = train[columns].drop_duplicates()
    rows = len(test[columns].merge(known, on=columns))

    def normalised(frame: Any) -> Any:
        frame = frame[columns].copy()
        for name in TEXTS[:-1]:
            text = frame[name].str.normalize("NFKC").str.casefold().str.strip()
            frame[name] = text.str.replace(r"\s+", " ", regex=True)
        return frame

    both = len(normalised(test).merge(normalised(known).drop_duplicates(), on=columns))
    return {
        "rows": rows,
        "normalised": both - rows,
        "keys": int(test[KEY].isin(train[KEY]).sum()),
        "groups": int(test[GROUP].isin(train[GROUP]).sum()),
        "time": int((pd.to_datetime(test[TIME]) <= pd.to_datetime(train[TIME]).max()).sum()),
        "constant": sum(int((f.nunique() == 1).sum()) for f in (train, test)),  # noqa: PD101 # a frame
        "missing": sum(int(frame.isna().all().sum()) for frame in (train, test)),
        "label": len(pd.concat([f[LABEL].value_counts(normalize=True) for f in (train, test)]))
        // 2,
    }


def duckdb(folder: Path, ending: str) -> dict[str, Any]:
    import duckdb as engine

    base = engine.connect()

    def one(query: str) -> Any:
        row = base.execute(query).fetchone()
        assert row is not None
        return row

    for name in ("train", "test"):
        base.execute(f"CREATE TABLE {name} AS SELECT * FROM '{folder / name}.{ending}'")
    names = [row[0] for row in base.execute("DESCRIBE test").fetchall()]
    columns = [name for name in names if name != KEY]

    def folded(name: str) -> str:
        if name not in TEXTS[:-1]:
            return name
        return f"regexp_replace(lower(trim(nfc_normalize({name}))), '\\s+', ' ', 'g') AS {name}"

    def shared(select: str) -> int:
        on = " AND ".join(f"e.{name} IS NOT DISTINCT FROM l.{name}" for name in columns)
        (count,) = one(
            f"WITH e AS (SELECT DISTINCT {select} FROM train), l AS (SELECT {select} FROM test) "
            f"SELECT count(*) FROM l JOIN e ON {on}"
        )
        return int(count)

    rows = shared(", ".join(columns))
    both = shared(", ".join(map(folded, columns)))
    constant = ", ".join(f"count(DISTINCT {name})" for name in names)
    missing = ", ".join(f"count({name})" for name in names)
    return {
        "rows": rows,
        "normalised": both - rows,
        "keys": one(f"SELECT count(*) FROM test SEMI JOIN train USING ({KEY})")[0],
        "groups": one(f"SELECT count(*) FROM test SEMI JOIN train USING ({GROUP})")[0],
        "time": one(f"SELECT count(*) FROM test WHERE {TIME} <= (SELECT max({TIME}) FROM train)")[
            0
        ],
        "constant": sum(one(f"SELECT {constant} FROM {t}").count(1) for t in ("train", "test")),
        "missing": sum(one(f"SELECT {missing} FROM {t}").count(0) for t in ("train", "test")),
        "label": one(f"SELECT count(*) FROM (SELECT {LABEL}, count(*) FROM train GROUP BY 1)")[0],
    }


def main() -> None:
    way, folder, ending = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    ways = {"mllock": mllock, "mllock-keys": mllock_keys, "pandas": pandas, "duckdb": duckdb}
    start = time.perf_counter()
    answers = ways[way](folder, ending)
    seconds = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime}
    # VmHWM, because a child's ru_maxrss begins with what its parent has.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps({**found, "peak": peak, "answers": answers}))


if __name__ == "__main__":
    main()
