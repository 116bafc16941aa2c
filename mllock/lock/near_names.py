"""What somebody may have meant with the name of a package that no index has.

Candidates are names that this project knows (its spec, its lock) and the tables below: what is
imported under another name than it is installed, and what machine learning commonly uses. Not the
names of an index: a list of all of them is large, and a name in a public index that is nearly
another one is how malware gets installed. See ADR 0081. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mllock.spec.meaning import package_name

__all__ = ["bare", "installed_as", "locked_as", "meant"]

_AFTER_NAME = re.compile(r"[\[<>=!~;@:\s]")

# import name, or another name for it -> package
_INSTALLED_AS = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "crypto": "pycryptodome",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "git": "gitpython",
    "google-protobuf": "protobuf",
    "huggingface": "huggingface-hub",
    "hydra": "hydra-core",
    "imblearn": "imbalanced-learn",
    "jwt": "pyjwt",
    "lightning-fabric": "lightning",
    "magic": "python-magic",
    "matplotlib-pyplot": "matplotlib",
    "multipart": "python-multipart",
    "opencv": "opencv-python-headless",
    "openssl": "pyopenssl",
    "pil": "pillow",
    "pkg-resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "pytorch": "torch",
    "scikit": "scikit-learn",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "tf": "tensorflow",
    "umap": "umap-learn",
    "usb": "pyusb",
    "xgb": "xgboost",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
_COMMON = (
    *("accelerate", "aiohttp", "albumentations", "altair", "bentoml", "bokeh", "boto3", "catboost"),
    *("click", "cloudpickle", "dask", "datasets", "detectron2", "diffusers", "distributed", "dvc"),
    *("einops", "evaluate", "fairlearn", "fastapi", "fastparquet", "feature-engine", "flask"),
    *("flax", "fsspec", "gensim", "geopandas", "gradio", "gunicorn", "h5py", "httpx", "hyperopt"),
    *("imageio", "ipykernel", "ipython", "jax", "jaxlib", "jinja2", "joblib", "jsonschema"),
    *("jupyter", "keras", "langchain", "lightgbm", "lightning", "llama-index", "matplotlib"),
    *("mlflow", "msgpack", "networkx", "nltk", "notebook", "numba", "numexpr", "numpy", "onnx"),
    *("onnxruntime", "openai", "openpyxl", "optuna", "orjson", "pandas", "pandera", "peft"),
    *("plotly", "polars", "prophet", "pyarrow", "pydantic", "pyspark", "pytest", "ray"),
    *("redis", "requests", "rich", "ruff", "s3fs", "safetensors", "scikit-image", "scikit-learn"),
    *("scipy", "seaborn", "sentence-transformers", "sentencepiece", "shap", "shapely", "spacy"),
    *("sqlalchemy", "statsmodels", "streamlit", "sympy", "tensorboard", "tensorflow", "tiktoken"),
    *("timm", "tokenizers", "torch", "torchaudio", "torchmetrics", "torchvision", "tqdm"),
    *("transformers", "triton", "typer", "uvicorn", "wandb", "xarray", "xgboost", "zarr"),
)


def installed_as(name: str) -> str | None:
    """The package that `name` is another name for."""
    return _INSTALLED_AS.get(package_name(name))


def bare(text: str) -> str:
    """The name that `text` begins with: extras, a version or an architecture may follow it."""
    return _AFTER_NAME.split(text, maxsplit=1)[0]


def locked_as(typed: str, locked: Iterable[str]) -> str | None:
    """The locked name that whoever typed `typed` may have meant: no other one will do there."""
    import difflib

    near = difflib.get_close_matches(package_name(bare(typed)), sorted(locked), n=1)
    return near[0] if near else None


def meant(name: str, known: Iterable[str]) -> str | None:
    """The package that `name` may be a misspelling of; `known` are normalised names."""
    import difflib

    name = package_name(name)
    candidates = {*known, *_COMMON, *_INSTALLED_AS.values()} - {name}
    near = difflib.get_close_matches(name, sorted(candidates), n=1, cutoff=0.75)
    return installed_as(name) or (near[0] if near else None)
