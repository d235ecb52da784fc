"""Networks in PyTorch that ours are compared with: twins of three of ours, layer by layer, and FAN.

FAN is the network of A. Bulat and G. Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?",
ICCV 2017.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias that keeps the size but for its stride, and batch normalization."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """The residual block of ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(inputs, outputs, 3, stride), nn.ReLU(), conv_bn(outputs, outputs, 3))
        changes = stride != 1 or inputs != outputs
        self.shortcut = conv_bn(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return functional.relu(self.body(x) + self.shortcut(x))


class SlimResNet(nn.Module):
    """The twin of gluon_models.ffld.network.resnet18_slim."""

    def __init__(self, num_landmarks: int = 68) -> None:
        super().__init__()
        channels = (16, 16, 32, 64, 128)
        self.stem = conv_bn(3, 16, 7, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(BasicBlock(inputs, outputs, 1 if i == 0 else 2), BasicBlock(outputs, outputs, 1))
            for i, (inputs, outputs) in enumerate(zip(channels, channels[1:]))
        )
        self.points = nn.Linear(128, 2 * num_landmarks)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces (N, 3, 224, 224) -> (N, K, 2) fractions of the crop."""
        return self.with_maps(faces)[0]

    def with_maps(self, faces: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The same, and the maps that FFLD's CropNets read, sides 28, 56 and 112."""
        maps = [functional.relu(self.stem(faces))]
        features = functional.max_pool2d(maps[0], 3, 2, 1)
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        offsets = self.points(features.mean((2, 3)))
        return offsets.unflatten(1, (-1, 2)) + 0.5, [maps[2], maps[1], maps[0]]


class PatchCrop(nn.Module):
    """Patches of 8 x 8 cells about every landmark, four channels selected; Eq. 5 is bilinear interpolation."""

    def __init__(self, num_landmarks: int, channels: int) -> None:
        super().__init__()
        self.selection = nn.Parameter(torch.empty(4 * num_landmarks, channels))
        nn.init.normal_(self.selection)

    def forward(self, maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Maps (N, C, S, S), points (N, K, 2) fractions of the crop -> (N, 4K, 8, 8)."""
        count, size = points.shape[1], maps.shape[-1]
        steps = 2 * (torch.arange(8) - 3.5) / size
        offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
        grid = (2 * points - 1)[:, :, None, None] + offsets
        patches = functional.grid_sample(maps, grid.flatten(1, 2), align_corners=False).unflatten(2, (count, 8))
        return torch.einsum("nckij,ksc->nksij", patches, self.selection.unflatten(0, (count, 4))).flatten(1, 2)


class Refinement(nn.Module):
    """One of FFLD's stages: its crop and its CropNet."""

    def __init__(self, num_landmarks: int, channels: int) -> None:
        super().__init__()
        self.crop = PatchCrop(num_landmarks, channels)
        self.norm = nn.BatchNorm2d(4 * num_landmarks)
        self.block = BasicBlock(4 * num_landmarks, 128, 1)
        self.offsets = nn.Linear(128, 2 * num_landmarks)

    def forward(self, maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Maps (N, C, S, S), points (N, K, 2) fractions of the crop -> better points."""
        features = functional.max_pool2d(self.block(self.norm(self.crop(maps, points))), 8)
        return points + self.offsets(features.flatten(1)).unflatten(1, (-1, 2)) / maps.shape[-1]


class FFLD(nn.Module):
    """The twin of gluon_models.ffld.network.ffld_resnet18."""

    def __init__(self, num_landmarks: int = 68) -> None:
        super().__init__()
        self.baseline = SlimResNet(num_landmarks)
        self.refinements = nn.ModuleList(Refinement(num_landmarks, channels) for channels in (32, 16, 16))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces (N, 3, 224, 224) -> (N, K, 2) fractions of the crop."""
        points, maps = self.baseline.with_maps(faces)
        for refinement, level in zip(self.refinements, maps):
            points = refinement(level, points)
        return points


class Bottleneck(nn.Module):
    """ResNet-50's block as Gluon's model zoo has it: the stride in front, biases in the 1x1 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // 4
        self.body = nn.Sequential(
            nn.Conv2d(inputs, narrow, 1, stride),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            *conv_bn(narrow, narrow, 3),
            nn.ReLU(),
            nn.Conv2d(narrow, outputs, 1),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = conv_bn(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return functional.relu(self.body(x) + self.shortcut(x))


class LambdaBlock(nn.Module):
    """The lambda-residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 4
        first, second = (*conv_bn(channels, narrow, 1), nn.ReLU()), (*conv_bn(narrow, narrow, 3), nn.ReLU())
        self.body = nn.Sequential(*first, *second, *conv_bn(narrow, channels, 1))
        self.branch = conv_bn(channels, channels, 1)
        self.factor = nn.ParameterDict({"lambda": nn.Parameter(torch.ones(1, 1, 1, 1))})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, channels, H, W) -> the same shape."""
        active = functional.relu(x)
        return self.body(active) + self.factor["lambda"] * x + self.branch(active)


class ModifiedHourglass(nn.Module):
    """The hourglass of lambda-residual blocks."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.skip, self.before = conv_bn(channels, channels, 1), LambdaBlock(channels)
        self.inner = ModifiedHourglass(depth - 1, channels) if depth > 1 else LambdaBlock(channels)
        self.after = LambdaBlock(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, channels, H, W) -> the same shape."""
        low = self.after(self.inner(self.before(functional.max_pool2d(x, 2))))
        return functional.interpolate(low, scale_factor=2.0, mode="nearest") + self.skip(x)


class ModifiedStack(nn.Module):
    """An hourglass and the layers that read its features."""

    def __init__(self, num_landmarks: int, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ModifiedHourglass(4, channels), LambdaBlock(channels), *conv_bn(channels, channels, 1), nn.ReLU()
        )
        self.maps = nn.Conv2d(channels, num_landmarks, 1)


class ModifiedMerge(nn.Module):
    """Input of the next stack."""

    def __init__(self, num_landmarks: int, channels: int) -> None:
        super().__init__()
        self.features, self.maps = conv_bn(channels, channels, 1), conv_bn(num_landmarks, channels, 1)


class StackedHourglass(nn.Module):
    """The twin of gluon_models.hourglass.hourglass_resnet50."""

    def __init__(self, num_landmarks: int = 68, stacks: int = 4, channels: int = 256) -> None:
        super().__init__()
        first = (Bottleneck(64, 256, 1), Bottleneck(256, 256, 1), Bottleneck(256, 256, 1))
        second = (Bottleneck(256, 512, 2), *(Bottleneck(512, 512, 1) for _ in range(3)))
        self.backbone = nn.Sequential(*conv_bn(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *first, *second)
        self.reduce = nn.Sequential(*conv_bn(512, channels, 1), nn.ReLU())
        self.stacks = nn.ModuleList(ModifiedStack(num_landmarks, channels) for _ in range(stacks))
        self.merges = nn.ModuleList(ModifiedMerge(num_landmarks, channels) for _ in range(stacks - 1))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces (N, 3, 256, 256) -> the last stack's heatmaps (N, K, 32, 32)."""
        start = x = self.reduce(self.backbone(faces))
        for stack, merge in zip(self.stacks, [*self.merges, None]):
            features = stack.features(x)
            maps = stack.maps(features)
            if merge is not None:
                x = merge.features(features) + merge.maps(maps) + start
        return maps


def bn_relu_conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Batch normalization, ReLU and a convolution without bias."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    )


class ParallelBlock(nn.Module):
    """FAN's block: three convolutions in a row, whose outputs are joined, and the way around them (Sec. 3)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        self.first, self.second = bn_relu_conv(inputs, half, 3), bn_relu_conv(half, quarter, 3)
        self.third = bn_relu_conv(quarter, quarter, 3)
        self.shortcut = nn.Identity() if inputs == outputs else bn_relu_conv(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, inputs, H, W) -> (N, outputs, H, W)."""
        first = self.first(x)
        second = self.second(first)
        return torch.cat((first, second, self.third(second)), 1) + self.shortcut(x)


class Hourglass(nn.Module):
    """FAN's hourglass of some depth."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.branch, self.down, self.up = (ParallelBlock(channels, channels) for _ in range(3))
        self.inner = Hourglass(depth - 1, channels) if depth > 1 else ParallelBlock(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, channels, H, W) -> the same shape."""
        low = self.up(self.inner(self.down(functional.avg_pool2d(x, 2))))
        return self.branch(x) + functional.interpolate(low, scale_factor=2.0, mode="nearest")


class Stack(nn.Module):
    """An hourglass and the layers that read its features."""

    def __init__(self, num_landmarks: int, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Hourglass(4, channels),
            ParallelBlock(channels, channels),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.maps = nn.Conv2d(channels, num_landmarks, 1)


class FAN(nn.Module):
    """Four stacked hourglasses of depth 4 and 256 channels."""

    def __init__(self, num_landmarks: int = 68, stacks: int = 4, channels: int = 256) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            ParallelBlock(64, 128),
            nn.AvgPool2d(2),
            ParallelBlock(128, 128),
            ParallelBlock(128, channels),
        )
        self.stacks = nn.ModuleList(Stack(num_landmarks, channels) for _ in range(stacks))
        self.from_features = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.from_maps = nn.ModuleList(nn.Conv2d(num_landmarks, channels, 1) for _ in range(stacks - 1))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces (N, 3, 256, 256) -> the last stack's heatmaps (N, K, 64, 64)."""
        x = self.stem(faces)
        for index, stack in enumerate(self.stacks):
            features = stack.features(x)
            maps = stack.maps(features)
            if index < len(self.from_maps):
                x = x + self.from_features[index](features) + self.from_maps[index](maps)
        return maps
