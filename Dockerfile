# One image for every worker: each package by its hash, no root, one folder for data. docker-compose.yml builds it.
FROM python:3.11.14-slim-bookworm

RUN useradd --uid 10001 --create-home tocsin \
    && install --directory --mode=0700 --owner=10001 --group=10001 /var/lib/tocsin
COPY requirements/hub.lock /tmp/hub.lock
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/hub.lock
COPY . /opt/tocsin
RUN printf '#!/bin/sh\nexec python -c "from pipeline.cli.app import main; main()" "$@"\n' > /usr/local/bin/tocsin \
    && chmod 0755 /usr/local/bin/tocsin
ENV PYTHONPATH=/opt/tocsin PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/var/lib/tocsin/numba
USER 10001:10001
WORKDIR /var/lib/tocsin
