"""What is told apart in a container, as literal lists: docs/reference/check.md says the same.

Which paths are executed, imported or read as model; what engines put into every container; which
variables load code or choose how numbers are computed; which settings of an engine change nothing
that runs. A test holds the reference to these lists. Nothing here is guessed from a container.
"""

from __future__ import annotations

from mllock.image.read import Member

__all__ = [
    "ENGINE_FILES",
    "ENGINE_FILESYSTEMS",
    "ENGINE_MOUNTS",
    "FREE_CONFIG",
    "FREE_HOST",
    "LOADERS",
    "PLATFORM",
    "PROTECTED",
    "PROTECTED_ETC",
    "SCRATCH",
    "TUNING",
    "named",
]

# Folders whose files are executed, imported or read as model or configuration: nothing may be
# added, changed or mounted there.
PROTECTED = (
    "app",
    "opt/venv",
    "opt/mllock",
    "usr",
    "bin",
    "sbin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    # HOME is "/" for a user without an entry in passwd: site packages and settings of a user.
    "root",
    ".local",
    ".config",
)
# Of /etc, what chooses which code is loaded. (Added or changed files are found in all of it.)
PROTECTED_ETC = (
    "etc/alternatives",
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "etc/ld.so.preload",
    "etc/nsswitch.conf",
    "etc/python3",
    "etc/python3.11",
    "etc/ssl/openssl.cnf",
)
# Where any program may write, and from where nothing is executed or imported by itself.
SCRATCH = ("tmp", "var/tmp", "run", "dev/shm")

_EMPTY_FILE = Member(
    kind="file",
    mode=0o755,
    uid=0,
    gid=0,
    digest=None,
)
_FOLDER = Member(kind="folder", mode=0o755, uid=0, gid=0)
# moby daemon/initlayer/setup_unix.go: made in a layer between the image and the container, in
# place of what the image has there; later mounted over.
ENGINE_FILES: dict[str, Member] = {
    ".dockerenv": _EMPTY_FILE,
    "dev": _FOLDER,
    "dev/console": _EMPTY_FILE,
    "dev/pts": _FOLDER,
    "dev/shm": _FOLDER,
    "etc": _FOLDER,
    "etc/hostname": _EMPTY_FILE,
    "etc/hosts": _EMPTY_FILE,
    "etc/mtab": Member(kind="symlink", mode=0o777, uid=0, gid=0, target="/proc/mounts"),
    "etc/resolv.conf": _EMPTY_FILE,
    "proc": _FOLDER,
    "sys": _FOLDER,
    # With --init: what the engine's own init is mounted on, where the image has or links /sbin.
    "sbin": _FOLDER,
    "sbin/docker-init": _EMPTY_FILE,
    "usr/sbin/docker-init": _EMPTY_FILE,
}

# What engines mount into every running container, beside what is asked of them.
ENGINE_MOUNTS = ("etc/hostname", "etc/hosts", "etc/resolv.conf", "sbin/docker-init")
ENGINE_FILESYSTEMS = ("dev", "proc", "sys")

# Variables: a name, or the beginning of names with "*" at its end.
LOADERS = (
    "LD_*",
    "PYTHON*",
    "GLIBC_TUNABLES",
    "OPENSSL_CONF",
    "OPENSSL_CONF_INCLUDE",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "BASH_ENV",
    "ENV",
    "VIRTUAL_ENV",
    "UVICORN_*",
    "GUNICORN_CMD_ARGS",
)
# Libraries that compute, and those that choose which model is read.
TUNING = (
    "BLIS_*",
    "BLAS_*",
    "OPENBLAS_*",
    "GOTO_*",
    "OMP_*",
    "KMP_*",
    "GOMP_*",
    "MKL_*",
    "NPY_*",
    "NUMEXPR_*",
    "NUMBA_*",
    "DNNL_*",
    "ONEDNN_*",
    "CUDA_*",
    "CUBLAS_*",
    "CUDNN_*",
    "NCCL_*",
    "ROCR_*",
    "HIP_*",
    "TF_*",
    "XLA_*",
    "JAX_*",
    "TORCH*",
    "PYTORCH_*",
    "HF_*",
    "TRANSFORMERS_*",
    "DIFFUSERS_*",
    "SKLEARN_*",
    "JOBLIB_*",
    "LOKY_*",
    "MLLOCK_*",
)
# What engines and their command lines add by themselves.
PLATFORM = (
    "HOSTNAME",
    "TERM",
    "container",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
)

# HostConfig: how much, how long, how it is reached. What is judged by itself is not in this list.
FREE_HOST = frozenset(
    {
        "AutoRemove",
        "BlkioDeviceReadBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceWriteIOps",
        "BlkioWeight",
        "BlkioWeightDevice",
        "CapDrop",
        "Cgroup",
        "CgroupParent",
        "CgroupnsMode",
        "ConsoleSize",
        "ContainerIDFile",
        "CpuCount",
        "CpuPercent",
        "CpuPeriod",
        "CpuQuota",
        "CpuRealtimePeriod",
        "CpuRealtimeRuntime",
        "CpuShares",
        "CpusetCpus",
        "CpusetMems",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "ExtraHosts",
        "IOMaximumBandwidth",
        "IOMaximumIOps",
        "Init",
        "Isolation",
        "KernelMemory",
        "KernelMemoryTCP",
        "LogConfig",
        "Memory",
        "MemoryReservation",
        "MemorySwap",
        "MemorySwappiness",
        "NanoCpus",
        "NetworkMode",
        "OomKillDisable",
        "OomScoreAdj",
        "PidsLimit",
        "PortBindings",
        "PublishAllPorts",
        "ReadonlyRootfs",
        "RestartPolicy",
        "ShmSize",
        "StorageOpt",
        "UTSMode",
        "Ulimits",
        "VolumeDriver",
    }
)
# Config: names, ports and terminals.
FREE_CONFIG = frozenset(
    {
        "ArgsEscaped",
        "AttachStderr",
        "AttachStdin",
        "AttachStdout",
        "Domainname",
        "ExposedPorts",
        "Hostname",
        "Image",
        "Labels",
        "MacAddress",
        "NetworkDisabled",
        "OnBuild",
        "OpenStdin",
        "Shell",
        "StdinOnce",
        "StopSignal",
        "StopTimeout",
        "Tty",
        "Volumes",
    }
)


def named(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a variable is in one of the lists above."""
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )
