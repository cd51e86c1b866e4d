"""How a request begins: everything that a client sends is read as UTF-8, whatever it claims."""

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest


class Request(WSGIRequest):
    """A request whose charset is not the client's to choose.

    Django takes any codec that Python knows and reads the query with it while it makes the request, before any
    middleware: one that decodes no text, such as hex, or a query of too many fields would end there, unanswered.
    """

    @property
    def encoding(self) -> str:
        return "utf-8"

    @encoding.setter
    def encoding(self, _claimed: str) -> None:
        pass


class Handler(WSGIHandler):
    request_class = Request
