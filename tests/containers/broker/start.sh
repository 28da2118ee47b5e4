# Settings from KAFKA_… variables, as the image of Apache Kafka takes them.
set -eu
env | grep '^KAFKA_' | grep -v '^KAFKA_HEAP_OPTS=' | while IFS='=' read -r name value; do
  key="${name#KAFKA_}"
  key="${key,,}"
  echo "${key//_/.}=$value"
done > /tmp/server.properties
# shellcheck disable=SC2086
java -cp '/opt/kafka/*' kafka.tools.StorageTool format --ignore-formatted "--cluster-id=$CLUSTER_ID" -c /tmp/server.properties
exec java ${KAFKA_HEAP_OPTS:-} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/*' kafka.Kafka /tmp/server.properties
