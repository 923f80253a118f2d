"""Files of /proc as the kernel writes them."""

from pathlib import Path


def process_status(name: str, anonymous_mib: int, file_mib: int = 0, shared_mib: int = 0) -> str:
    """What the kernel writes of a process, cut to the lines around those that count."""
    whole = anonymous_mib + file_mib + shared_mib
    return (
        f"Name:\t{name}\nUmask:\t0022\nState:\tS (sleeping)\nPPid:\t1\nVmHWM:\t{whole * 1024} kB\n"
        f"VmRSS:\t{whole * 1024} kB\nRssAnon:\t{anonymous_mib * 1024} kB\nRssFile:\t{file_mib * 1024} kB\n"
        f"RssShmem:\t{shared_mib * 1024} kB\nVmSwap:\t0 kB\n"
    )


def add_process(root: Path, pid: int, text: str, cwd: Path = Path("/")) -> None:
    directory = root / "proc" / str(pid)
    directory.mkdir(parents=True)
    (directory / "status").write_bytes(text.encode())
    (directory / "cwd").symlink_to(cwd)
