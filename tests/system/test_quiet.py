"""Only known messages of other libraries are silenced."""

import io
import logging
import types

from densebone.system import quiet


def test_prints_that_begin_so_are_dropped(capsys):
    with quiet.prints_dropped("Warning: Unable"):
        print("Warning: Unable to use numba", flush=True)
        print("Warning: the disk is full")
        print()
    print("Warning: Unable to use numba")
    assert capsys.readouterr().out == "Warning: the disk is full\n\nWarning: Unable to use numba\n"


def test_a_module_prints_only_what_is_kept(capsys):
    module = types.ModuleType("loud")
    exec("def run():\n    print('creating index...')\n    print(' Average Precision', 1)", vars(module))
    quiet.mute_prints(module, " Average")
    module.run()
    assert capsys.readouterr().out == " Average Precision 1\n"


def test_records_are_dropped_by_their_beginning():
    stream = io.StringIO()
    logger = logging.getLogger("tests.quiet.dropped")
    logger.addHandler(logging.StreamHandler(stream))
    logger.propagate = False
    quiet.drop_records(logger, "Please consider")
    logger.warning("Please consider to run pre-processing before %s", "quantization")
    logger.warning("the range is empty")
    assert stream.getvalue() == "the range is empty\n"


def test_warnings_and_kept_records_pass():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("tests.quiet.kept")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    quiet.keep_records(handler, "Epoch: ")
    logger.info("Epoch: [0] loss: 1")
    logger.info("Start evaluate...")
    logger.warning("a picture is broken")
    assert stream.getvalue() == "Epoch: [0] loss: 1\na picture is broken\n"
