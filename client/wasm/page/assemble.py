"""Makes one file of the page, the glue and the module: assemble.py PAGE GLUE MODULE OUT."""

import base64
import pathlib
import sys

page, glue, module, out = (pathlib.Path(argument) for argument in sys.argv[1:])
script = glue.read_text(encoding="utf-8").replace("export async function load", "async function load")
bytes_ = base64.b64encode(module.read_bytes()).decode("ascii")
text = page.read_text(encoding="utf-8")
for mark, content in (("/*GLUE*/", script), ("/*MODULE*/", bytes_)):
    if text.count(mark) != 1:
        sys.exit(f"{page}: {mark} stands {text.count(mark)} times, not once")
    text = text.replace(mark, content)
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(text, encoding="utf-8")
