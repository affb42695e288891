"""An editor of another package: one step of gradient descent on one down-projection."""

import torch
from torch.func import functional_call

from errata.editing.base import Capabilities
from errata.editing.changes import WeightChange, editable
from errata.editors.shared.examples import examples_of, padded, trainable
from errata.generation.sharing import sharing_copy
from errata.module_paths import module_paths_of


class Nudge:
    name = "acme-nudge"
    capabilities = Capabilities(together=True)

    def __init__(self, *, length=2.0):
        self.length = length

    def supports(self, edit):
        return trainable(edit)

    def plan(self, model, tokenizer, edits):
        name = module_paths_of(model, "answer").down_weight(0)
        batch = padded(model, examples_of(model, tokenizer, edits))
        with torch.inference_mode(False), torch.enable_grad():
            copied = sharing_copy(model)
            weight = editable(copied, name).detach().clone().requires_grad_()
            inputs = {key: value.clone() for key, value in batch.inputs.items()}
            output = functional_call(copied, {name: weight}, kwargs={**inputs, "use_cache": False})
            [slope] = torch.autograd.grad(batch.losses(output.logits).mean(), [weight])
        return [WeightChange(name, -self.length * slope.float() / slope.float().norm())]
