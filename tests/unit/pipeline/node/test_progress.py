import io

from pipeline.node import progress as bars


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drawn(monkeypatch, patience):
    """Return what a terminal shows of three rows."""
    stream = Terminal()
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.setattr(bars, "PATIENCE", patience)
        patch.setattr("sys.stderr", stream)
        with bars.progress("Importing x.csv", 3) as advance:
            for _ in range(3):
                advance(1)
    return stream.getvalue()


def test_a_bar_is_shown_on_a_terminal_for_what_takes_long(monkeypatch):
    shown = drawn(monkeypatch, patience=0)
    assert "Importing x.csv" in shown
    assert "100%" in shown


def test_what_is_done_at_once_shows_nothing(monkeypatch):
    assert not drawn(monkeypatch, patience=60)


def test_no_bar_where_no_terminal_is(monkeypatch, capsys):
    monkeypatch.setattr(bars, "PATIENCE", 0)
    with bars.progress("Importing x.csv", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")
