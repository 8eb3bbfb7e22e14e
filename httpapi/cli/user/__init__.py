"""`drystone user`: the verbs on the files of users, one file a verb."""
