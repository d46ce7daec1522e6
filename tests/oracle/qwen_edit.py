# SPDX-License-Identifier: MIT
"""diffusers' pipeline of Qwen-Image-Edit on a folder of checkpoints.qwen(edit=True), in float32."""

import torch

from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from transformers import BatchFeature, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer, Qwen2VLImageProcessor


class Processor:
    """Of transformers' Qwen2_5_VLProcessor what the pipeline uses; that one wants torchvision for its videos."""

    def __init__(self, folder):
        self.images = Qwen2VLImageProcessor.from_pretrained(folder / "processor")
        self.tokenizer = Qwen2Tokenizer.from_pretrained(folder / "tokenizer")

    def __call__(self, text, images, padding, return_tensors):
        seen = self.images(images, return_tensors=return_tensors)
        for grid in seen["image_grid_thw"]:
            text = [line.replace("<|image_pad|>", "<|seen|>" * (int(grid.prod()) // 4), 1) for line in text]
        text = [line.replace("<|seen|>", "<|image_pad|>") for line in text]
        return BatchFeature({**self.tokenizer(text, padding=padding, return_tensors=return_tensors), **seen})


def pipeline(folder) -> QwenImageEditPlusPipeline:
    kinds = {
        "vae": AutoencoderKLQwenImage,
        "text_encoder": Qwen2_5_VLForConditionalGeneration,
        "transformer": QwenImageTransformer2DModel,
    }
    networks = {
        name: kind.from_pretrained(folder / name, torch_dtype=torch.float32).eval() for name, kind in kinds.items()
    }
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    tokenizer = Qwen2Tokenizer.from_pretrained(folder / "tokenizer")
    return QwenImageEditPlusPipeline(scheduler=scheduler, tokenizer=tokenizer, processor=Processor(folder), **networks)
