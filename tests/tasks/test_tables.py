"""Tables are aligned."""

from densebone.tasks.evaluation import class_lines
from densebone.tasks.tables import table


def test_a_table():
    rows = [["class", "IoU"], ["road", "0.9"], ["traffic light", "1"]]
    assert table(rows) == "class          IoU\nroad           0.9\ntraffic light    1"


def test_of_many_classes_the_worst_are_printed():
    rows = [{"name": f"class {n}", "AP": None if n == 7 else n / 100, "objects": 1000 * n} for n in range(50)]
    lines = class_lines(rows, {"objects": ",", "AP": ".2f"}, "AP")
    cells, rest = lines[0].splitlines(), lines[1]
    assert len(cells) == 16 and cells[1].split() == ["class", "0", "0", "0.00"]
    assert cells[-1].split() == ["class", "15", "15,000", "0.15"] and "class 7" not in lines[0]
    assert rest == "the 15 of 50 classes with the lowest AP; classes.csv has all"
    rows[3]["name"] = "two\nlines"
    few = class_lines(rows[:9], {"objects": ",", "AP": ".2f"}, "AP")
    assert len(few) == 1 and "two\\nlines" in few[0] and few[0].splitlines()[8].split()[-1] == "-"
    assert class_lines([], {"AP": ".2f"}, "AP") == []
