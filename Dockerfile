ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/lossless
COPY pyproject.toml constraints.txt README.md ./
COPY operator operator
RUN python -m pip --python /opt/lossless/bin/python install --no-cache-dir --constraint constraints.txt .

FROM ${PYTHON}
RUN python -m pip uninstall --yes pip setuptools wheel
COPY --from=build /opt/lossless /opt/lossless
# Nothing is written at run time: the modules are compiled already.
ENV PATH=/opt/lossless/bin:${PATH} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["lossless-operator"]
