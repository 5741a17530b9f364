# The library with Dask, for any machine of a cluster (docs/cluster.md).
#   docker build -t deep-registration .
#   apptainer build deep-registration.sif docker-daemon://deep-registration:latest
FROM python:3.12-slim
COPY pyproject.toml README.md LICENSE /source/
COPY DeepRegistrationLib /source/DeepRegistrationLib
COPY Training /source/Training
COPY benchmarks /source/benchmarks
RUN pip install --no-cache-dir "/source[scale,dicom]" && rm -r /source
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["python", "-m", "DeepRegistrationLib"]
CMD ["--help"]
