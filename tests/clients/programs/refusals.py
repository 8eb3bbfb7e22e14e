"""What both programs say of a call that must fail. Found beside them, since they are run as scripts."""
# mypy: ignore-errors


def refused(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind:
        return
    raise AssertionError(f"{call} {arguments} was not refused")
