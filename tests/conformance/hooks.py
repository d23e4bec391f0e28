"""Sends a URL that ends a path as it is: clients of descriptions take one of its two slashes away."""

import re

import requests.adapters

_send = requests.adapters.HTTPAdapter.send


def send(self, request, **options):
    request.url = re.sub(r"/http:/+", "/http://", request.url)
    return _send(self, request, **options)


requests.adapters.HTTPAdapter.send = send
