// Publish inspection jobs from Node: node publish.mjs BROKERS TOPIC s3://bucket/key …
//
// One job per image, keyed by its folder, so that the images of one camera or line keep their order. Every record is
// acknowledged by all in-sync replicas before the program ends with 0; idempotence keeps a retry from writing twice.
import { compatibilityPartitioner, Producer, stringSerializers } from '@platformatic/kafka'

const [brokers, topic, ...images] = process.argv.slice(2)
if (!images.length) {
  console.error('usage: node publish.mjs BROKERS TOPIC s3://bucket/key …')
  process.exit(2)
}

const producer = new Producer({
  clientId: 'publish-inspection-jobs',
  bootstrapBrokers: brokers.split(','),
  serializers: stringSerializers,
  partitioner: compatibilityPartitioner, // a key goes to the partition that Java's client chooses
  idempotent: true
})

function record (image) {
  const [, bucket, key] = image.match(/^s3:\/\/([^/]+)\/(.+)$/s) ?? []
  if (!key) throw new Error(`expected s3://bucket/key, got ${image}`)
  const folder = key.slice(0, key.lastIndexOf('/') + 1)
  const job = {
    schema: 'inspection.job/1',
    job_id: `node-${key}`, // your own name for the job; left out, it is topic/partition/offset
    image: { bucket, key },
    metadata: { producer: 'node' } // any JSON; it comes back in the result, byte for byte
  }
  return { topic, key: `${bucket}/${folder}`, value: JSON.stringify(job) }
}

try {
  await producer.send({ messages: images.map(record) })
  console.log(`${images.length} jobs acknowledged`)
} catch (error) {
  console.error(`not published: ${error.message}`)
  process.exitCode = 1
} finally {
  await producer.close()
}
