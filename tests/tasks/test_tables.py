"""Tables are aligned."""

from densebone.tasks.tables import table


def test_a_table():
    rows = [["class", "IoU"], ["road", "0.9"], ["traffic light", "1"]]
    assert table(rows) == "class          IoU\nroad           0.9\ntraffic light    1"
