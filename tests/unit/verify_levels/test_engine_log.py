import engine_log
from hypothesis import given
from hypothesis import strategies as st

# Lines of SGLang 0.5.12.post1 as its engine logs them; the progress bar writes over its own line.
LOG = """\
[2026-11-21 08:00:01] Capture cuda graph begin. This can take up to several minutes. avail mem=96.79 GB
[2026-11-21 08:00:01] Capture cuda graph bs [1, 2, 4]
  0%|          | 0/3 [00:00<?, ?it/s]\rCapturing batches (bs=4): 100%|####| 3/3 [00:00<00:00, 3.9it/s]
[2026-11-21 08:00:02] Capture cuda graph end. Time elapsed: 0.88 s. mem usage=0.08 GB. avail mem=96.71 GB.
[2026-11-21 08:00:02] Capture piecewise CUDA graph begin. avail mem=96.71 GB
[2026-11-21 08:00:02] Capture cuda graph num tokens [4, 8, 12]
[2026-11-21 08:00:04] Capture piecewise CUDA graph end. Time elapsed: 2.31 s. mem usage=0.45 GB. avail mem=96.26 GB.
[2026-11-21 08:00:05] Prefill batch, #new-seq: 1, #new-token: 4, cuda graph: True, gen throughput (token/s): 0.00
[2026-11-21 08:00:05] Prefill batch, #new-seq: 16, #new-token: 900, cuda graph: False, #queue-req: 0,
[2026-11-21 08:00:06] Decode batch, #running-req: 16, #token: 100, cuda graph: True, #queue-req: 0
"""


def test_what_was_captured():
    seen = engine_log.read(LOG)
    assert seen.decode_sizes == [1, 2, 4]
    assert seen.piecewise_sizes == [4, 8, 12]
    assert seen.seconds == {"decode": 0.88, "piecewise": 2.31}
    assert seen.gigabytes == {"decode": 0.08, "piecewise": 0.45}
    assert seen.steps == {"Prefill True": 1, "Prefill False": 1, "Decode True": 1}
    assert len(seen.lines) == 6


def test_a_capture_that_broke_off_has_no_end():
    seen = engine_log.read(LOG[: LOG.index("Capture cuda graph end")])
    assert seen.decode_sizes == [1, 2, 4]
    assert seen.seconds == {}


@given(st.text())
def test_any_text_can_be_read(text):
    assert engine_log.read(text).decode_sizes == []
