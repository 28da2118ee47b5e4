"""Is it fast? Bare parts, the pipeline, what people write and what others offer, side by side in one table."""
