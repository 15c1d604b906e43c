"""What gunicorn's dirty workers serve: nothing; they only have to be there."""

from gunicorn.dirty import DirtyApp


class Idle(DirtyApp):
    def __call__(self, action: str, *args: object, **kwargs: object) -> None:
        return None
