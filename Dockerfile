# syntax=docker/dockerfile:1
# hackamore serve, on a CPU:         docker build -t hackamore .
# on NVIDIA GPUs (CUDA in PyTorch):  docker build -t hackamore:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
# with the ray engine:               --build-arg EXTRAS=serve,ray
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=serve
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/hackamore
ENV PATH=/opt/hackamore/bin:$PATH
WORKDIR /build
COPY constraints.txt ./
RUN grep '^torch==' constraints.txt > torch.txt && pip install --index-url "$TORCH_INDEX" --requirement torch.txt
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN grep -v '^torch==' constraints.txt > rest.txt && pip install --constraint rest.txt ".[$EXTRAS]"

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 hackamore && install -d -o hackamore -g hackamore /data
COPY --from=build /opt/hackamore /opt/hackamore
ENV PATH=/opt/hackamore/bin:$PATH \
    HF_HOME=/data/hub \
    PORT=7860 \
    PYTHONUNBUFFERED=1
USER 1000
WORKDIR /data
VOLUME /data
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]
# HACKAMORE_TOKEN must be set: the server listens on all addresses of the container.
CMD ["sh", "-c", "exec hackamore serve --host 0.0.0.0 --port \"$PORT\" --folder /data/jobs"]
