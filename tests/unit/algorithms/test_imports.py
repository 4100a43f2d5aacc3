"""Algorithms open no file, connection or store: `fedpipe.algorithms.base` promises it."""

import grimp

GRAPH = grimp.build_graph("fedpipe", include_external_packages=True, cache_dir=None)
MODULES = sorted(GRAPH.find_descendants("fedpipe.algorithms"))
OPENERS = {
    "grpc",
    "io",
    "os",
    "pathlib",
    "pyarrow",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "urllib",
    "fedpipe.tracking",
    "fedpipe.engine",
}
BINDS_THE_RUN = {
    "fedpipe.algorithms.catalog",  # makes the clients' files from a folder, and finds a user's module
    "fedpipe.algorithms.recipe",  # `Run.cache_dir`, which an algorithm of the user's own may want
}


def test_algorithms_know_neither_disk_nor_network() -> None:
    assert BINDS_THE_RUN.issubset(MODULES)
    imported = {
        module: {
            name
            for name in GRAPH.find_modules_directly_imported_by(module)
            if name.split(".")[0] in OPENERS or ".".join(name.split(".")[:2]) in OPENERS
        }
        for module in MODULES
    }
    assert {module: names for module, names in imported.items() if names} == {
        module: {"pathlib"} for module in BINDS_THE_RUN
    }


def test_client_files_are_made_where_an_algorithm_is_bound() -> None:
    importers = {
        module
        for module in MODULES
        if "fedpipe.data.resident" in GRAPH.find_modules_directly_imported_by(module)
    }
    # `personalize` takes the bytes of examples in memory.
    assert importers == {"fedpipe.algorithms.catalog", "fedpipe.algorithms.personalize"}
