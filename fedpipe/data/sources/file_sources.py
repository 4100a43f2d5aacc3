"""The sources that read users' own files, by name."""

from collections.abc import Callable

from fedpipe.data.sources.base import Source
from fedpipe.data.sources.image_folder import open_images
from fedpipe.data.sources.leaf import open_leaf
from fedpipe.data.sources.npz_file import open_npz
from fedpipe.data.sources.sqlite_file import open_sqlite
from fedpipe.data.sources.tabular import open_table_source

OWN_SOURCES: dict[str, Callable[..., Source]] = {
    "parquet": open_table_source,
    "csv": open_table_source,
    "npz": open_npz,
    "images": open_images,
    "sqlite": open_sqlite,
    "leaf": open_leaf,
}

NEEDS = {
    "parquet": "a Parquet file at data.path: a row an example; data.client_column, "
    "data.label_column (one or a list), the others are features",
    "csv": "a CSV file at data.path with a header, otherwise as parquet",
    "npz": "a NumPy file at data.path: arrays x, data.label_column, data.client_column and, if "
    "wanted, is_test",
    "images": "a folder at data.path: client/label/image, or label/image with "
    "data.client_column=null; every format that Pillow reads",
    "sqlite": "a file at data.path in TFF's SQLite format of client data",
    "leaf": "LEAF's JSON at data.path: a file, a folder of files, or a folder with train/ and "
    "test/",
}
