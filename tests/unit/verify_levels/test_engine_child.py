import engine_child


def test_an_argument_that_a_release_lacks_is_left_out_and_others_are_not():
    wanted = {"model_path": "/m", "disable_piecewise_cuda_graph": True, "tp_size": 1}
    assert engine_child.known_arguments(wanted, ["model_path", "tp_size"]) == {"model_path": "/m", "tp_size": 1}
    assert engine_child.known_arguments(wanted, ["disable_piecewise_cuda_graph"]) == wanted
