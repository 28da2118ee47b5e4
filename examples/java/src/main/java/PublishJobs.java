import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Publish inspection jobs from Java: BROKERS TOPIC s3://bucket/key ...
 *
 * <p>One job per image, keyed by its folder, so that the images of one camera or line keep their order. Every record is
 * acknowledged by all in-sync replicas before the program ends with 0; idempotence keeps a retry from writing twice.
 */
public final class PublishJobs {
  private static final Pattern IMAGE = Pattern.compile("s3://([^/]+)/(.+)", Pattern.DOTALL);
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] arguments) throws Exception {
    if (arguments.length < 3) {
      System.err.println("usage: PublishJobs BROKERS TOPIC s3://bucket/key ...");
      System.exit(2);
    }
    Map<String, Object> properties =
        Map.of(
            ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0],
            ProducerConfig.ACKS_CONFIG, "all",
            ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true,
            ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
      for (String image : List.of(arguments).subList(2, arguments.length)) {
        sent.add(producer.send(record(arguments[1], image)));
      }
    }
    for (Future<RecordMetadata> acknowledged : sent) {
      RecordMetadata place = acknowledged.get(); // throws what Kafka refused it for
      System.out.printf("%s/%d/%d%n", place.topic(), place.partition(), place.offset());
    }
  }

  private static ProducerRecord<String, String> record(String topic, String image) throws Exception {
    Matcher parts = IMAGE.matcher(image);
    if (!parts.matches()) {
      throw new IllegalArgumentException("expected s3://bucket/key, got " + image);
    }
    String bucket = parts.group(1);
    String key = parts.group(2);
    Map<String, Object> job =
        Map.of(
            "schema", "inspection.job/1",
            "job_id", "java-" + key, // your own name for the job; left out, it is topic/partition/offset
            "image", Map.of("bucket", bucket, "key", key),
            "metadata", Map.of("producer", "java")); // any JSON; it comes back in the result, byte for byte
    String folder = key.substring(0, key.lastIndexOf('/') + 1);
    return new ProducerRecord<>(topic, bucket + "/" + folder, JSON.writeValueAsString(job));
  }

  private PublishJobs() {}
}
