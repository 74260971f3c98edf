"""Accounting for user input."""

from ipet.input_report import MAX_EXAMPLES, InputReport


def test_counts_of_used_and_left_out_add_up_to_supplied():
    report = InputReport("birds")
    report.use("recordings", 6)
    report.leave_out("recordings", "a.m4a", "no decoder for .m4a", "install ffmpeg")
    report.leave_out("recordings", "b.m4a", "no decoder for .m4a", "install ffmpeg")
    report.leave_out("columns", "start", "not used")
    assert report.num_supplied("recordings") == 8 and report.num_left_out("recordings") == 2
    assert report.warnings() == [
        "birds: 2 of 8 recordings left out: no decoder for .m4a (a.m4a, b.m4a); install ffmpeg",
        "birds: 1 of 1 columns left out: not used (start)",
    ]


def test_examples_are_limited_and_counts_are_exact():
    report = InputReport("birds")
    for i in range(MAX_EXAMPLES + 3):
        report.leave_out("recordings", f"{i}.aac", "no decoder")
    [line] = report.warnings()
    assert line.endswith("(0.aac, 1.aac, 2.aac, 3.aac, 4.aac and 3 more)")
    [entry] = report.as_dict()["left_out"]
    assert entry["count"] == MAX_EXAMPLES + 3 and len(entry["examples"]) == MAX_EXAMPLES


def test_items_that_fail_are_no_longer_used_and_told_in_one_line():
    report = InputReport("birds")
    report.use("recordings", 5)
    report.fail("recordings", "a.wav", "truncated")
    report.fail("recordings", "b.wav", "silent")
    report.skip("recordings", "c.wav", "already in heard.csv")
    assert report.used["recordings"] == 2 and report.num_supplied("recordings") == 5
    assert report.warnings() == [
        "birds: 2 of 5 recordings left out: they cannot be used, as their errors say"
    ]
    assert {entry["reason"] for entry in report.as_dict()["left_out"]} == {
        "truncated",
        "silent",
        "already in heard.csv",
    }


def test_a_report_without_omissions_prints_nothing(capsys):
    report = InputReport("birds")
    report.use("recordings", 3)
    report.print_warnings()
    assert capsys.readouterr() == ("", "")
    assert report.as_dict()["supplied"] == {"recordings": 3}
