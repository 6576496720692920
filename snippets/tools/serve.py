"""Serve a SavedModel over HTTP in the format of TensorFlow Serving, with TensorFlow and nothing else.

The folder is what `model.export` wrote, or one that holds such folders by number, as TensorFlow Serving wants them: the
highest is served. Neither Keras nor the classes of the model are needed::

    python serve.py prices --port 8501

It is for tests and for callers that you trust: it knows no TLS, no log-in and no limit to the size of a request.
"""

import argparse
import base64
import json
import math
import re
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import tensorflow as tf


def answer(model, body):
    """The status and the JSON object that answer the body of a predict request to what `tf.saved_model.load` gave."""
    try:
        return 200, predict(model, json.loads(body))
    except NotImplementedError as error:
        return 501, {"error": str(error)}
    except (ValueError, RecursionError, tf.errors.InvalidArgumentError) as error:
        return 400, {"error": str(error)}
    except Exception as error:  # the caller of a server has to hear of it
        return 500, {"error": str(error)}


def predict(model, request):
    if not isinstance(request, dict) or ("instances" in request) == ("inputs" in request):
        raise ValueError("Expecting an object with one of 'inputs' and 'instances'")
    name = request.get("signature_name", "serving_default")
    if not isinstance(name, str) or name not in model.signatures:
        raise ValueError(f'Serving signature name: "{name}" not found in signature def')
    signature = model.signatures[name]
    specs = signature.structured_input_signature[1]
    given = columns(request["instances"], specs) if "instances" in request else request["inputs"]
    if not is_object(given) and len(specs) == 1:
        given = dict.fromkeys(specs, given)
    if not is_object(given) or specs.keys() - given.keys():
        raise ValueError(f"Expecting an object with the keys {', '.join(sorted(specs))}")
    outputs = signature(**{name: tensor(name, given[name], spec) for name, spec in specs.items()})
    plain = {name: as_json(name, outputs[name]) for name in sorted(outputs)}
    if "instances" in request:
        sizes = {len(rows) if isinstance(rows, list) else None for rows in plain.values()}
        if len(sizes) != 1 or None in sizes:
            raise ValueError("The outputs have no batch size in common: ask by 'inputs'")
        rows = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
        return {"predictions": rows if len(plain) > 1 else next(iter(plain.values()))}
    return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}


def is_object(value):
    """Whether it holds values by name, and isn't one value in base64."""
    return isinstance(value, dict) and not (value.keys() == {"b64"} and isinstance(value["b64"], str))


def columns(rows, specs):
    if not isinstance(rows, list) or not rows:
        raise ValueError("Expecting 'instances' to be a list with at least one value")
    if not any(map(is_object, rows)):
        return rows
    if not all(is_object(row) and row.keys() == specs.keys() for row in rows):
        raise ValueError(f"Each of 'instances' needs the keys {', '.join(sorted(specs))}, and no other")
    return {name: [row[name] for row in rows] for name in specs}


def tensor(name, value, spec):
    array = np.array(value, dtype=object)  # lists of unequal length stay lists, which are of no type
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(f"{name}: expecting shape {spec.shape}, but got {array.shape}")
    values, dtype = array.ravel().tolist(), spec.dtype
    if dtype == tf.string:
        return tf.constant([text(name, one) for one in values], dtype, array.shape)
    kinds = {bool} if dtype == tf.bool else {int} if dtype.is_integer else {int, float}
    if dtype not in (tf.bool, tf.float32, tf.float64) and not dtype.is_integer:
        raise NotImplementedError(f"{name}: {dtype.name} isn't read from JSON")
    for one in values:
        if type(one) not in kinds:
            raise ValueError(f"{name}: {json.dumps(one)} isn't of type {dtype.name}")
    if dtype != tf.bool:
        low, high = (dtype.min, dtype.max) if dtype.is_integer else (float(dtype.min), float(dtype.max))
        for one in values:
            if not low <= one <= high and (type(one) is int or math.isfinite(one)):
                raise ValueError(f"{name}: {one} is out of the range of {dtype.name}")
    return tf.constant(values, dtype, array.shape)


def text(name, value):
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and not is_object(value):
        return base64.b64decode(value["b64"], validate=True)
    raise ValueError(f"{name}: {json.dumps(value)} isn't of type string")


def as_json(name, output):
    array = np.asarray(output.numpy())
    if output.dtype == tf.string:
        encode = (lambda one: {"b64": base64.b64encode(one).decode()}) if name.endswith("_bytes") else bytes.decode
        return np.vectorize(encode, otypes=[object])(array.astype(object)).tolist()
    if output.dtype == tf.float32:
        return array.astype(str).astype("float64").tolist()  # 0.1, and not 0.10000000149011612
    if output.dtype not in (tf.bool, tf.float64) and not output.dtype.is_integer:
        raise NotImplementedError(f"{name}: {output.dtype.name} isn't written as JSON")
    return array.tolist()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the body waits for no acknowledgement of the headers: 40 ms a request

    def __init__(self, model, name, version, *args):
        self.model, self.name, self.version = model, name, version
        super().__init__(*args)

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not re.fullmatch("[0-9]{1,10}", length):
            self.close_connection = True  # where the next request begins is unknown
            return self.reply(400, {"error": "Expecting a Content-Length, and no other encoding"})
        body = self.rfile.read(int(length))
        return self.reply(*(self.refused(":predict") or answer(self.model, body)))

    def do_GET(self):
        state = {"version": self.version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        self.reply(*(self.refused("") or (200, {"model_version_status": [state]})))

    def refused(self, verb):
        path = re.fullmatch(rf"/v1/models/([^/:]+)(?:/versions/(\d+))?{verb}", self.path)
        if not path:
            return 400, {"error": f"Malformed request: {self.command} {self.path}"}
        if path[1] != self.name or path[2] not in (None, self.version):
            which = f"Specific({path[1]}, {path[2]})" if path[2] else f"Latest({path[1]})"
            return 404, {"error": f"Servable not found for request: {which}"}
        return None

    def reply(self, status, content):
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # of callers that wait; by default, the sixth is turned away


def main():
    parser = argparse.ArgumentParser(description="Serve a SavedModel in the format of TensorFlow Serving.")
    parser.add_argument("folder", type=Path, help="what `model.export` wrote, or a folder of such folders by number")
    parser.add_argument("--name", help="of the model, in the address; by default that of the folder")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--host", default="127.0.0.1", help="by default, only this machine is answered")
    options = parser.parse_args()
    folder, version = options.folder.resolve(), "1"
    name = options.name or folder.name
    if not (folder / "saved_model.pb").is_file():
        folder = max((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
        version = folder.name
    handler = partial(Handler, tf.saved_model.load(str(folder)), name, version)
    with Server((options.host, options.port), handler) as server:
        print(f"http://{options.host}:{server.server_port}/v1/models/{name}:predict", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
