"""The notebook of the documentation, run as Jupyter runs it."""

import nbformat
from nbclient import NotebookClient
from script_runs import ROOT


def test_every_cell_runs_and_shows_what_it_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not committed"
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]

    def last(outputs):
        return next(output["data"] for output in reversed(outputs) if "data" in output)

    assert "<audio controls" in last(shown[0])["text/html"]
    assert "".join(last(shown[1])["text/plain"].split()).startswith("((4,40960),16000,[")
    assert len(list(tmp_path.glob("clips*.flac"))) == 4
    assert last(shown[3])["text/plain"].startswith("[80.0")
    assert "image/png" in last(shown[4])
