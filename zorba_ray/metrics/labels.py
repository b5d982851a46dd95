"""Figures of predicted labels: accuracy, balanced accuracy, macro-F1, Matthews' correlation, confusion matrix.

Figures of one split are scikit-learn's. Those of many samples of its rows at once are the same formulas on counts.
"""

import numpy as np

LABEL_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "mcc")
"""Balanced accuracy is the mean recall of the labels that rows have. Macro-F1 is the mean F1 of the labels that rows
have or are given. MCC is Matthews' correlation coefficient, 0 where either side has one label only."""


def label_figures(gold: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """LABEL_FIGURES of rows.

    Args:
        gold, predicted: int64 [rows], at least one row.
    """
    from sklearn import metrics  # takes most of a second

    several = len(np.union1d(gold, predicted)) > 1  # else scikit-learn's MCC is 0 too, with a warning
    return {
        "accuracy": float(metrics.accuracy_score(gold, predicted)),
        # balanced_accuracy_score is this, and warns where a label is predicted that no row has
        "balanced_accuracy": float(metrics.recall_score(gold, predicted, labels=np.unique(gold), average="macro")),
        "macro_f1": float(metrics.f1_score(gold, predicted, average="macro")),
        "mcc": float(metrics.matthews_corrcoef(gold, predicted)) if several else 0.0,
    }


def confusion(gold: np.ndarray, predicted: np.ndarray, labels: int) -> np.ndarray:
    """Rows by the label they have and the one they are given: int64 [gold, predicted]."""
    return np.bincount(gold * labels + predicted, minlength=labels**2).reshape(labels, labels)


def label_counts(gold: np.ndarray, predicted: np.ndarray, labels: int) -> np.ndarray:
    """Rows by label, int64 [3, labels]: those that have it, those that are given it, those where both are so."""
    sides = (gold, predicted, gold[gold == predicted])
    return np.stack([np.bincount(side, minlength=labels) for side in sides])


def counted_figures(counts: np.ndarray) -> dict[str, np.ndarray]:
    """LABEL_FIGURES of many samples of rows, none of them empty: float64 [samples] each.

    Args:
        counts: `label_counts` of each sample, int64 [samples, 3, labels].
    """
    a, b, both = counts.astype(np.float64).swapaxes(0, 1)
    rows, hits = a.sum(axis=1), both.sum(axis=1)
    spread_a, spread_b = (np.sqrt(rows**2 - (counts**2).sum(axis=1)) for counts in (a, b))
    scale = spread_a * spread_b
    return {
        "accuracy": hits / rows,
        "balanced_accuracy": _mean_over_labels(both, a),
        "macro_f1": _mean_over_labels(2 * both, a + b),
        "mcc": np.divide(hits * rows - (a * b).sum(axis=1), scale, out=np.zeros_like(rows), where=scale > 0),
    }


def _mean_over_labels(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Mean of the quotients [samples, labels] over the labels whose divisor is not 0: float64 [samples]."""
    counted = below > 0
    shares = np.divide(above, below, out=np.zeros_like(above), where=counted)
    return shares.sum(axis=1) / counted.sum(axis=1)
