"""What the tests ask of a real Kafka and a real S3."""

import io
from uuid import uuid4

import psutil
import urllib3
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from minio import Minio

from infra.cluster import Cluster
from infra.table import Topic

CONFIG = {"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": "8388608"}


def topic(name=None, partitions=1, config=None):
    name = name or f"t.{uuid4().hex[:8]}"
    settings = config or CONFIG
    return Topic(name, "m", partitions, "k", "Confluent", "node", ("Envelope",), ("node",), ("refine",), settings)


def send(endpoints, name, *records):
    with_keys = [one if isinstance(one, tuple) else (None, one) for one in records]
    producer = KafkaProducer(bootstrap_servers=endpoints.kafka, acks="all")
    for future in [producer.send(name, value, key=key) for key, value in with_keys]:
        future.get(20)
    producer.close()


def read(endpoints, name):
    consumer = KafkaConsumer(bootstrap_servers=endpoints.kafka)
    partition = TopicPartition(name, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end, values = consumer.end_offsets([partition])[partition], []
    while consumer.position(partition) < end:
        values += [one.value for some in consumer.poll(1000).values() for one in some]
    consumer.close()
    return values


def store(endpoints, access_key=None, secret_key=None):
    http = urllib3.PoolManager(timeout=5, retries=False)
    keys = (access_key or endpoints.access_key, secret_key or endpoints.secret_key)
    return Minio(endpoints.s3, *keys, secure=False, http_client=http, region="us-east-1")


def put(endpoints, name, content):
    store(endpoints).put_object(endpoints.bucket, name, io.BytesIO(content), len(content))


def get(endpoints, name):
    with store(endpoints).get_object(endpoints.bucket, name) as answer:
        return answer.read()


def pid(data, name):
    return Cluster(data).process(name).pid


def processes_of(data):
    """The processes that were told of the folder, or work in it; not those of the test itself."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(data) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return [one for one in found if one.pid != psutil.Process().pid]
