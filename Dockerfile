# QuadraMatrix in a container; docs/operations.md says how to run it.
FROM python:3.11-slim

WORKDIR /app
COPY requirements.txt requirements.lock ./
RUN pip install --no-cache-dir -r requirements.txt
COPY app.py LICENSE ./
COPY quadra ./quadra
COPY static ./static
COPY templates ./templates
RUN useradd --uid 10001 --no-create-home quadramatrix \
    && install -d -o quadramatrix -g quadramatrix /data /app/instance

# The number, since a cluster that refuses root cannot tell it from a name.
USER 10001:10001
# What the training step is compiled to lies beside the states, so that a new container need not compile it anew.
ENV QUADRA_HOST=0.0.0.0 \
    QUADRA_PORT=5000 \
    QUADRA_STATE_DIR=/data/state \
    QUADRA_RESUME=1 \
    NUMBA_CACHE_DIR=/data/compiled
VOLUME /data
EXPOSE 5000
STOPSIGNAL SIGTERM
# Any answer is health: a server whose saves fail says "degraded", and to replace it would lose what it has not saved.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['QUADRA_PORT'] + '/health', timeout=5)"]
ENTRYPOINT ["python", "app.py"]
