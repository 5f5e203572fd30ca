"""Every fully connected third-party net loads and audits without change (the deep version; `make evidence`)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from boundlab.cli import main

ROOT = Path(os.environ["BOUNDLAB_DATA"]) / "nets" if "BOUNDLAB_DATA" in os.environ else None
INDEX = json.loads((ROOT / "index.json").read_text(encoding="utf-8")) if ROOT else []
ENTRIES = [e for e in INDEX if e["kind"] == "mlp" and (e["dataset"] or "input_domain" in e)]
SCALES = {
    "x/255": [],
    "(x/255-.1307)/.3081": ["--scale", str(1 / 0.3081), "--shift", str(-0.1307 / 0.3081)],
    "(x/255-.5)/.5": ["--scale", "2", "--shift", "-1"],
    "(x/255-.2860)/.3530": ["--scale", str(1 / 0.3530), "--shift", str(-0.2860 / 0.3530)],
}


@pytest.mark.evidence
@pytest.mark.parametrize("entry", ENTRIES or [None], ids=lambda e: e["name"] if e else "no data")
def test_net_audits_and_no_promise_is_broken(entry: dict[str, Any] | None, tmp_path: Path) -> None:
    if ROOT is None or entry is None:
        pytest.skip("$BOUNDLAB_DATA does not name a folder of data sets and nets")
    words = ["audit", "--net", str(ROOT / entry["file"]), "--out", str(tmp_path)]
    words += ["--relu-after-last"] if entry["relu_after_last"] else []
    if entry["dataset"]:
        words += ["--data", entry["dataset"], *SCALES[entry["input"]]]
    else:
        words += ["--data", f"{ROOT / 'index.json'}#{entry['name']}"]
    assert main(words) == 0
    found = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert not [v["claim"] for v in found["verdicts"] if v["promised"] and v["state"] == "violated"]
    if entry["dataset"]:
        assert found["test_error"] == pytest.approx(1 - entry["test_accuracy"], abs=3e-4)
