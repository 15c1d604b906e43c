"""One session for the whole process, to which rows are added and never flushed."""

from load import serve
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class PageView(Base):
    __tablename__ = "page_view"
    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str]


engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
session = Session(engine, autoflush=False)


def handle(number: int) -> None:
    session.add(PageView(id=number, path=f"/article/{number}"))


serve(handle)
