"""Methods against each other: the same data, partition, batches and forward passes, several seeds, one table.

Nothing is imported here: the report reads `records` without torch.
"""
