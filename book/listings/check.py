"""Runs every Python listing of the book once.

    python -m venv .venv && .venv/bin/pip install torch torchao litert-quantizer onnx onnxruntime keras scipy transformers bitsandbytes llmcompressor
    .venv/bin/python book/listings/check.py [LABEL ...]

A listing runs as it is printed, after the lines that SETUP has for its label: the names that the page takes for granted, as small
as they can be. A listing without an entry is an error; one whose packages are not installed here is skipped and named (the Keras 2
tools need an environment of their own: tensorflow, tf_keras, tensorflow-model-optimization). Where a listing needs a GPU or a model
from the network, SETUP replaces the call that would need it, and imports and constructors are what is checked.
"""

import importlib.metadata as metadata
import os
import re
import sys
import tempfile
import traceback
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

TORCH = """
import torch
torch.manual_seed(0)
def train(model):
    model(torch.randn(8, 64)).sum().backward()
"""
TWO_LAYERS = TORCH + "model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32))\n"

# Label: packages, lines before, lines after.
SETUP = {
    "lst-accumulation-torch": (
        ["torch"],
        TORCH
        + """
import copy, types
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = torch.nn.Embedding(11, 6), torch.nn.Linear(6, 11)
    def forward(self, ids):
        return types.SimpleNamespace(logits=self.out(self.embed(ids)))
model = Model(); twin = copy.deepcopy(model)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
ids = torch.randint(0, 11, (2, 9)); labels = ids.clone(); labels[1, 3:] = -100
pieces = [{"input_ids": ids[i:i + 1], "labels": labels[i:i + 1]} for i in range(2)]
""",
        """
targets = labels[:, 1:].flatten()
torch.nn.functional.cross_entropy(twin(ids).logits[:, :-1].flatten(0, 1), targets, ignore_index=-100).backward()
torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
for ours, theirs in zip(model.parameters(), twin.parameters()):
    assert torch.allclose(ours, theirs - 0.1 * theirs.grad, atol=1e-6)
""",
    ),
    "lst-low-rank-torch": (
        ["torch"],
        "",
        "x = torch.randn(256, 8); layer = torch.nn.Linear(8, 6)\n"
        "assert torch.allclose(factor(layer, x, 6)(x), layer(x), atol=1e-4)",
    ),
    "lst-features-torch": (
        ["torch"],
        TORCH
        + """
class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.block3 = self.block5 = torch.nn.Linear(8, width)
    def forward(self, x):
        return self.block3(x)
student_width, teacher_width = 4, 6
student, teacher = Net(student_width), Net(teacher_width)
""",
        "",
    ),
    "lst-distillation-torch": (
        ["torch"],
        TORCH + "teacher, images = torch.nn.Linear(8, 3), torch.randn(5, 8)\n",
        "distillation_loss(torch.randn(5, 3), answers, torch.zeros(5, dtype=torch.long)).item()",
    ),
    "lst-distillation-keras": (
        ["keras", "torch"],
        """
import keras
import numpy as np
net = lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
teacher, student = net(), net()
images, labels = np.ones((8, 8), "float32"), np.zeros(8, "int32")
""",
        "assert all(np.isfinite(w).all() for w in student.get_weights())",
    ),
    "lst-early-exit-torch": (
        ["torch"],
        "",
        "x = torch.randn(9, 8)\n"
        "assert classify([torch.nn.Linear(8, 8)] * 3, [torch.nn.Linear(8, 3)] * 3, x, 0.5).shape == (9,)",
    ),
    "lst-qat-torchao": (["torch", "torchao"], TWO_LAYERS, ""),
    "lst-torchao": (["torch", "torchao"], TWO_LAYERS, "model(torch.randn(2, 64)); Int4WeightOnlyConfig(group_size=32)"),
    "lst-qat-tfmot": (
        ["tf_keras", "tensorflow-model-optimization"],
        """
import numpy as np
import tf_keras
model = tf_keras.Sequential([tf_keras.Input((8,)), tf_keras.layers.Dense(3, activation="softmax")])
images, labels = np.zeros((8, 8), "float32"), np.zeros(8, "int32")
""",
        "",
    ),
    "lst-torch-prune": (
        ["torch"],
        TORCH + "model = torch.nn.Module(); model.up, model.down = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)\n",
        "assert (model.up.weight == 0).sum() + (model.down.weight == 0).sum() == 64",
    ),
    "lst-pruning-torch": (["torch"], TWO_LAYERS, ""),
    "lst-scaling-scipy": (
        ["scipy"],
        """
import numpy as np
ln_n, ln_d = np.log(np.array([1e6, 1e7, 1e8, 1e6, 1e7, 1e8])), np.log(np.array([1e8, 1e9, 1e10, 1e9, 1e8, 1e9]))
ln_loss = np.log(1.7 + 400 / np.exp(0.34 * ln_n) + 400 / np.exp(0.28 * ln_d))
starts = [np.array([6.0, 6.0, 0.5, 0.3, 0.3])]
""",
        "assert best.fun < 1e-6",
    ),
    "lst-ort": (
        ["onnx", "onnxruntime"],
        """
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
w = numpy_helper.from_array(np.random.default_rng(0).normal(size=(8, 4)).astype("float32"), "w")
value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [value("x", [1, 8])], [value("y", [1, 4])], [w])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "model.onnx")
from onnxruntime.quantization import CalibrationDataReader
class Samples(CalibrationDataReader):
    def __init__(self):
        rng = np.random.default_rng(1)
        self.rest = iter([{"x": rng.normal(size=(1, 8)).astype("float32")} for _ in range(8)])
    def get_next(self):
        return next(self.rest, None)
calibration_samples = Samples()
""",
        "",
    ),
    "lst-fit-nf4": (
        ["torch", "transformers", "bitsandbytes"],
        "import transformers\ntransformers.AutoModelForCausalLM.from_pretrained = lambda name, quantization_config, device_map: None",
        "assert nf4.bnb_4bit_use_double_quant",
    ),
    "lst-fit-compressor": (
        ["llmcompressor"],
        """
import inspect
import llmcompressor
takes = inspect.signature(llmcompressor.oneshot).parameters
def named(**given):
    assert set(given) <= set(takes), set(given) - set(takes)
llmcompressor.oneshot = named
""",
        "",
    ),
    "lst-litert": (
        ["litert-quantizer"],
        """
from litert_quantizer import quantizer, recipe
class Model:  # there is no small model at hand: the recipe is built, the file is not
    def __init__(self, path): pass
    def load_quantization_recipe(self, recipe): assert recipe
    def quantize(self): return self
    def export_model(self, path): pass
for name in ("load_quantization_recipe", "quantize"):
    assert hasattr(quantizer.Quantizer, name), name
quantizer.Quantizer = Model
""",
        "",
    ),
}
# A comment that stands for the reader's own code, and what stands there when it runs.
REPLACE = {"lst-features-torch": ("# in the loop", "x = torch.randn(3, 8); student(x), teacher(x)  # in the loop")}
LISTING = re.compile(r"^```python \{#(?P<label>[\w-]+)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def listings():
    """Label, file and code of every listing in the book."""
    source = Path(__file__).resolve().parents[1] / "src"
    for page in sorted(source.rglob("*.md")):
        for found in LISTING.finditer(page.read_text(encoding="utf-8")):
            yield found["label"], page.relative_to(source), found["code"]


def main(wanted):
    failed = 0
    for label, page, code in listings():
        if wanted and label not in wanted:
            continue
        if label not in SETUP:
            print(f"FAILED   {label} ({page}): has no entry in SETUP")
            failed += 1
            continue
        packages, before, after = SETUP[label]
        code = code.replace(*REPLACE[label]) if label in REPLACE else code
        try:
            versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
        except metadata.PackageNotFoundError as missing:
            print(f"skipped  {label}: {missing.name} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            here = os.getcwd()
            os.chdir(folder)
            try:
                exec(compile("\n".join([before, code, after]), str(page), "exec"), {"__name__": label})
                print(f"ran      {label} ({versions})")
            except Exception:
                print(f"FAILED   {label} ({page}; {versions})")
                traceback.print_exc()
                failed += 1
            finally:
                os.chdir(here)
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(set(sys.argv[1:])) else 0)
