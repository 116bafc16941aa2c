"""Serve the model over HTTP. By hand: uvicorn serve:app --port 8080

    curl -s localhost:8080/predict -H "content-type: application/json" \
         -d '{"wines": [{"fixed acidity": 7, "volatile acidity": 0.27, ...}]}'
"""

import json
from pathlib import Path

import joblib
import pandas as pd
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

FOLDER = Path(__file__).parent / "model"

app = FastAPI(title="wine-quality")
model = joblib.load(FOLDER / "model.joblib")
features = json.loads((FOLDER / "features.json").read_text(encoding="utf-8"))["features"]


class Question(BaseModel):
    wines: list[dict[str, float]] = Field(min_length=1, max_length=1000)


class Answer(BaseModel):
    quality: list[float]


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict(question: Question) -> Answer:
    """The mark of each wine; every measurement has to be there, and no other."""
    for number, wine in enumerate(question.wines):
        if wine.keys() != set(features):
            wrong = sorted(wine.keys() ^ set(features))
            raise HTTPException(422, f"wine {number}: missing or unknown measurements: {wrong}")
    frame = pd.DataFrame(question.wines, columns=features)
    return Answer(quality=[float(mark) for mark in model.predict(frame)])
