"""The host verbs that look after the data: one file a verb."""
