# Two images of the same program:
#
#   docker build --target cpu --tag dlcore:cpu .
#   docker run --rm -v dlcore-runs:/runs dlcore:cpu
#
#   docker build --target cuda --tag dlcore:cuda .
#   docker run --rm --gpus all -v dlcore-runs:/runs -v dlcore-cache:/cache dlcore:cuda train --device cuda
#
# /runs is the working directory, for data and results; /cache keeps the compiled kernels, Numba's for the CPU and CuPy's
# for CUDA, wherever the user may write besides. Both are writable for any user, so that --user "$(id -u):$(id -g)" works
# with a mounted folder. Compiled files belong to the user who made them: two users take a volume each for /cache.

FROM python:3.12.12-slim-bookworm AS python

FROM python AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY backends backends
COPY dlcore dlcore
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python AS cpu-environment
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/dlcore \
    && /opt/dlcore/bin/pip install --no-cache-dir /wheels/*.whl

FROM python AS cpu
COPY --from=cpu-environment /opt/dlcore /opt/dlcore
RUN install --directory --mode=1777 /runs /cache /cache/numba
ENV PATH=/opt/dlcore/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/cache \
    NUMBA_CACHE_DIR=/cache/numba
WORKDIR /runs
VOLUME ["/runs", "/cache"]
USER 10001:10001
ENTRYPOINT ["dlcore"]
CMD ["train"]

# CuPy's ctk extra brings the toolkit's libraries as wheels, so the base image suffices. It makes the container runtime
# refuse a driver that is too old for CUDA 13.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS cuda-python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3=3.12.* \
    && rm -rf /var/lib/apt/lists/*

FROM cuda-python AS cuda-environment
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv=3.12.* \
    && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /wheels /wheels
RUN python3 -m venv /opt/dlcore \
    && set -- /wheels/*.whl \
    && /opt/dlcore/bin/pip install --no-cache-dir "$1[cuda13]"

FROM cuda-python AS cuda
COPY --from=cuda-environment /opt/dlcore /opt/dlcore
RUN install --directory --mode=1777 /runs /cache /cache/numba /cache/cupy
ENV PATH=/opt/dlcore/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/cache \
    NUMBA_CACHE_DIR=/cache/numba \
    CUPY_CACHE_DIR=/cache/cupy \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /runs
VOLUME ["/runs", "/cache"]
USER 10001:10001
ENTRYPOINT ["dlcore"]
CMD ["train"]
