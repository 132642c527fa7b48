# docker build -t soundctm . && docker run --gpus all -v "$PWD/outputs:/app/outputs" soundctm
FROM nvidia/cuda:13.0.2-runtime-ubuntu24.04

ENV DEBIAN_FRONTEND=noninteractive \
    PYTHONUNBUFFERED=1 \
    PATH=/opt/venv/bin:$PATH

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv \
    && pip install --no-cache-dir uv

WORKDIR /app
# The requirements alone first, so that a change of code does not install them again.
COPY requirements.txt ./
RUN uv pip install --python /opt/venv/bin/python --no-cache -r requirements.txt

COPY . .
CMD ["bash", "ctm_inference.sh"]
