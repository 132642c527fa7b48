# Sounds from captions, training and evaluation in one image; wheels of torch bring CUDA along.
#
#   docker build -t soundctm .
#   docker run --rm --gpus all -v "$PWD/outputs:/app/outputs" soundctm --prompt "a dog barking" --output_dir outputs/mine
#
# Arguments are those of ctm_inference.py; without any, the demo goes to outputs/demo. Without a GPU leave out --gpus all.
# Mounts: /app/outputs (what is made), /app/exp (trainings), /app/data/corpus (real sounds), /app/ckpt/official and
# /app/ckpt/extractors (fetched weights). Other commands, in the same environment:
#
#   docker run --rm --gpus all -v "$PWD/exp:/app/exp" --entrypoint bash soundctm ctm_train.sh distill --help
#   docker run --rm -v "$PWD/outputs:/app/outputs" --entrypoint bash soundctm numerical_evaluation.sh
FROM python:3.12-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    SOUNDCTM_PYTHON=/usr/local/bin/python

WORKDIR /app
# The requirements alone first, so that a change of code does not install them again; those of evaluation contain those
# of inference and training, so there is one environment.
COPY requirements.txt requirements-eval.txt ./
RUN pip install --no-cache-dir -r requirements-eval.txt

COPY . .
ENTRYPOINT ["bash", "ctm_inference.sh"]
