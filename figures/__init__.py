"""The papers' figures, drawn from networks trained here: one file per paper, one command per figure."""
