"""A plain LightningModule: two layers of attention over sentence vectors; it knows nothing of curricula."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from examples.babi.vocabulary import SENTENCES, VOCABULARY, WORDS, Vocabulary


class Layer(nn.Module):
    """Self-attention and a feed-forward part, each behind a normalisation and beside a shortcut.

    The projections are ``nn.Linear`` modules that are called, so that hooks on linear layers see all of them.

    Args:
        width: of the vectors.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.projections = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return new vectors, shape ``(batch, rows, width)``; ``present``, ``(batch, rows)``, is false for padding."""
        batch, rows, width = vectors.shape
        parts = self.projections(self.attention_norm(vectors)).view(batch, rows, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=present[:, None, None, :])
        vectors = vectors + self.output(mixed.transpose(1, 2).reshape(batch, rows, width))
        return vectors + torch.as_tensor(self.feed_forward(vectors))


class AttentionNetwork(nn.Module):
    """Sentence vectors, attention among them and the question, and one answer of all.

    A sentence vector is the sum of its word vectors, each weighted by its position in the sentence (as in the position
    encoding of Sukhbaatar et al. 2015, but learned), and a vector for the distance of the sentence from the question.

    Args:
        vocabulary: of words and answers.
        sentences: rows of the stories.
        words: columns of the sentences.
        width: of all vectors.
        heads: of the attention.
        layers: of attention.
    """

    def __init__(
        self, vocabulary: Vocabulary, sentences: int, words: int, width: int, heads: int = 4, layers: int = 2
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(vocabulary.words) + 1, width, padding_idx=0)
        self.position = nn.Parameter(1.0 + 0.3 * torch.randn(words, width))
        self.distance = nn.Parameter(0.5 * torch.randn(sentences + 1, width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.readout = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(vocabulary.answers)))

    def forward(self, story: Tensor, question: Tensor) -> Tensor:
        """Return the logits of the answers, shape ``(batch, answers)``.

        Args:
            story: shape ``(batch, sentences, words)``, the last sentence in the last row.
            question: shape ``(batch, words)``.
        """
        if story.shape[1:] != (len(self.distance) - 1, len(self.position)):
            raise ValueError(
                f"The stories have {story.shape[1]} sentences of {story.shape[2]} words, the model was made for "
                f"{len(self.distance) - 1} of {len(self.position)}: give both the same sentences= and words=."
            )
        text = torch.cat([story, question[:, None]], dim=1)
        present = (text != 0).any(dim=2)
        # Rows that are padding in the whole batch change nothing: most stories are far shorter than the longest.
        longest = int(present.sum(dim=1).max())
        text, present = text[:, -longest:], present[:, -longest:]
        vectors = torch.zeros(*present.shape, self.position.shape[1], device=text.device, dtype=self.position.dtype)
        vectors[present] = (self.embedding(text[present]) * self.position).sum(dim=1).to(vectors.dtype)
        vectors = vectors + self.distance[-longest:]
        for layer in self.layers:
            vectors = layer(vectors, present)
        logits: Tensor = self.readout(vectors[:, -1])
        return logits


class Model(pl.LightningModule):
    """The network, its loss and its score.

    Args:
        lr: learning rate of Adam.
        vocabulary: of words and answers; a larger one for files of your own (``Vocabulary.extended``).
        sentences: rows of the stories, as given to ``vectorise``.
        words: columns of the sentences, as given to ``vectorise``.
        width: of all vectors, a multiple of 4.
    """

    def __init__(
        self,
        lr: float = 2e-3,
        *,
        vocabulary: Vocabulary = VOCABULARY,
        sentences: int = SENTENCES,
        words: int = WORDS,
        width: int = 64,
    ) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise ValueError(f"width is {width}, allowed are multiples of 4 from 4 on: the attention has 4 heads.")
        self.lr = lr
        self.network = AttentionNetwork(vocabulary, sentences, words, width)

    def losses(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the cross-entropy of each sample in nats, shape ``(batch,)``."""
        logits = self.network(batch["story"], batch["question"])
        return nn.functional.cross_entropy(logits, batch["answer"], reduction="none")

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the mean cross-entropy in nats, and the losses that it is the mean of."""
        losses = self.losses(batch)
        return {"loss": losses.mean(), "losses": losses}

    @torch.no_grad()
    def score(self, batch: dict[str, Tensor]) -> float:
        """Return the share of wrong answers."""
        answers = self.network(batch["story"], batch["question"]).argmax(dim=1)
        return float((answers != batch["answer"]).double().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
