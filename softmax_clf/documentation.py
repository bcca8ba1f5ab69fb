"""Where the documentation is, for the views of estimators in notebooks."""

import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, metadata
from itertools import accumulate


@lru_cache
def address() -> str:
    """The address of the documentation site as the installed package has it; empty where it has none.

    Who publishes the site names it in the package, as ``Documentation`` among its project's URLs.
    """
    try:
        urls = metadata("softmax_clf").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a folder, not installed
        return ""
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation", "")


class Documented:
    """An estimator whose view in a notebook leads to its page on the documentation site, where there is one."""

    _doc_link_module = "softmax_clf"

    @property
    def _doc_link_template(self):
        site = address()
        return f"{site.rstrip('/')}/generated/{{module}}.{{name}}.html" if site else ""

    def _doc_link_url_param_generator(self):
        cls = type(self)
        packages = accumulate(cls.__module__.split("."), "{}.{}".format)
        places = (name for name in packages if getattr(sys.modules[name], cls.__name__, None) is cls)
        return {"module": next(places), "name": cls.__name__}  # the outermost, where its page is
