"""What a row of the table becomes on an engine."""
from conftest import error_of, look


def outcome(cli, name, text, o, port=0):
    d = cli.d
    made = []
    try:
        for i, before in enumerate(o.get("before", [])):
            cli.build("-q", "-t", f"before{i}", text=before)
            made.append(f"before{i}")
        p = cli.build("-t", "row", *o.get("args", []), text=text.replace("PORT", str(port)), files=o.get("files"), check=None,
                      name=o.get("dockerfile", "Dockerfile"))
        if p.returncode:
            return {"code": p.returncode, "error": error_of(p.stdout + p.stderr), "output": p.stdout + p.stderr}
        made.append("row")
        return {"code": 0, "output": p.stdout, **look(d, "row")}
    finally:
        if made:
            d.cli("rmi", "-f", *made, check=None)
        left = d.out("ps", "-aq", check=None).split()
        if left:
            d.cli("rm", "-f", "-v", *left, check=None)
