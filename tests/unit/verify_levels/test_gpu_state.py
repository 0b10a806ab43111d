import gpu_state
import level_io

ROWS = [
    {"index": "0", "uuid": "GPU-aaaa", "memory.total": "143771", "memory.used": "4"},
    {"index": "1", "uuid": "GPU-bbbb", "memory.total": "143771", "memory.used": "140000"},
]
HOLDERS = [{"gpu": "GPU-bbbb", "pid": 4711, "name": "python3", "mib": 139990}]


def uuids(chosen):
    return [row["uuid"] for row in gpu_state.visible(ROWS, chosen)]


def test_cuda_visible_devices_picks_and_orders():
    assert uuids(None) == ["GPU-aaaa", "GPU-bbbb"]
    assert uuids("1,0") == ["GPU-bbbb", "GPU-aaaa"]
    assert uuids("GPU-b") == ["GPU-bbbb"]
    assert uuids("") == uuids("7") == uuids("-1") == []
    assert uuids("0,9,1") == ["GPU-aaaa"]


def test_a_busy_gpu_names_processes_and_memory():
    problems, warnings = gpu_state.memory_state(ROWS, HOLDERS)
    assert warnings == []
    assert problems == ["GPU 1 has 3.7 of 140.4 GiB free; held by process 4711 (python3, 139990 MiB); 6 GiB are needed"]
    (unknown,), _ = gpu_state.memory_state(ROWS, [])
    assert "names no process here" in unknown


def test_a_share_held_by_others_is_a_warning():
    row = {**ROWS[0], "memory.used": "20000"}
    holder = {"gpu": "GPU-aaaa", "pid": 12, "name": "python3", "mib": None}
    problems, (warning,) = gpu_state.memory_state([row], [holder])
    assert problems == []
    assert warning.endswith("held by process 12 (python3)")


def test_values_that_are_no_numbers_are_left_alone():
    assert gpu_state.memory_state([{**ROWS[0], "memory.used": "[N/A]"}], []) == ([], [])


def test_the_level_fails_on_a_busy_gpu_and_says_what_to_do():
    result = level_io.Result("torch")
    result.evidence["gpu_processes"] = HOLDERS
    assert not level_io.free_memory(result, ROWS[1:])
    assert result.checks[0]["id"] == "torch.gpu-memory"
    assert "4711" in result.checks[0]["why"]
    assert "CUDA_VISIBLE_DEVICES" in result.checks[0]["why"]
    assert level_io.free_memory(result, ROWS[:1])
