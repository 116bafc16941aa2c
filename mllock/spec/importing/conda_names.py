"""Packages of conda that are the same on a Python index, and what others are there or in Debian.

Only what is known is translated: a name of conda's is not always that of the same package
elsewhere, and a wrong guess would install what somebody else has put there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["OTHERWISE", "RENAMED", "SAME", "SYSTEM"]

_SAME = """
    absl-py accelerate aiohttp altair anyio boto3 bokeh botocore catboost certifi cffi click
    cloudpickle cryptography cython dask datasets distributed dvc fastapi flask fsspec gensim
    gunicorn h5py httpx huggingface_hub hydra-core imageio imbalanced-learn ipykernel ipython
    jax jinja2 joblib jsonschema jupyter jupyterlab keras librosa lightgbm lightning llvmlite
    lxml matplotlib mlflow networkx nltk notebook numba numpy omegaconf onnx openpyxl optuna
    orjson pandas peft pillow plotly polars protobuf psutil psycopg2 pyarrow pydantic pymongo
    pytest pytest-cov python-dateutil pytorch-lightning pytz pyyaml rasterio regex requests
    rich safetensors scikit-image scikit-learn scipy seaborn sentencepiece shap shapely
    sqlalchemy statsmodels streamlit sympy tensorboard tensorflow threadpoolctl timm tokenizers
    torchmetrics tornado tqdm transformers typer typing_extensions umap-learn uvicorn wandb
    xarray zarr
"""
SAME = frozenset(_SAME.split())
RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "dask-core": "dask",
        "matplotlib-base": "matplotlib",
        "msgpack-python": "msgpack",
        "py-lightgbm": "lightgbm",
        "py-opencv": "opencv-python-headless",
        "opencv": "opencv-python-headless",
        "py-xgboost": "xgboost",
        "py-xgboost-cpu": "xgboost",
        "pyarrow-core": "pyarrow",
        "pytables": "tables",
        "pytorch": "torch",
        "torchaudio": "torchaudio",
        "torchvision": "torchvision",
        "xgboost": "xgboost",
        "spacy": "spacy",
        "faiss-cpu": "faiss-cpu",
    }
)
# Of Debian bookworm.
SYSTEM: Mapping[str, str] = MappingProxyType(
    {
        "ffmpeg": "ffmpeg",
        "git": "git",
        "graphviz": "graphviz",
        "libgomp": "libgomp1",
        "libsndfile": "libsndfile1",
        "openjdk": "openjdk-17-jre-headless",
        "poppler": "poppler-utils",
        "sox": "sox",
        "tesseract": "tesseract-ocr",
        "_openmp_mutex": "libgomp1",
    }
)
OTHERWISE: Mapping[str, str] = MappingProxyType(
    {
        "python_abi": "Python is the base's own",
        "cudatoolkit": "wheels of torch, jax and tensorflow bring CUDA with them",
        "cuda-toolkit": "wheels of torch, jax and tensorflow bring CUDA with them",
        "cudnn": "wheels of torch, jax and tensorflow bring cuDNN with them",
        "pytorch-cuda": "wheels of torch bring CUDA with them",
        "cpuonly": 'name an index of CPU wheels in pip\'s settings, and write "torch==VERSION+cpu"',
        "mkl": "wheels of numpy and scipy bring their own BLAS",
        "blas": "wheels of numpy and scipy bring their own BLAS",
        "libblas": "wheels of numpy and scipy bring their own BLAS",
        "openblas": "wheels of numpy and scipy bring their own BLAS",
        "nomkl": "wheels of numpy and scipy bring their own BLAS",
        "compilers": "only wheels are installed: nothing is compiled",
        "gcc": "only wheels are installed: nothing is compiled",
        "gxx": "only wheels are installed: nothing is compiled",
        "cmake": "only wheels are installed: nothing is compiled",
        "openssl": "it is in the base",
        "ca-certificates": "they are in the base",
        "tzdata": "it is in the base",
        "bzip2": "it is in the base",
        "zlib": "it is in the base",
        "xz": "it is in the base",
        "sqlite": "it is in the base",
        "libgcc-ng": "it is in the base",
        "libstdcxx-ng": "it is in the base",
        "r-base": "use an image that has R as base",
    }
)
