import { expect, test } from 'vitest';
import { signatureProblem } from './verify-signature.ts';

const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const secret = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';
const scope = 'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request';

function example(method: string, url: string, signedHeaders: string, signature: string, headers: Record<string, string> = {}) {
  const authorization = `${scope},SignedHeaders=${signedHeaders},Signature=${signature}`;
  return {
    method,
    url,
    headers: { host: 'examplebucket.s3.amazonaws.com', 'x-amz-content-sha256': empty, 'x-amz-date': '20130524T000000Z', authorization, ...headers },
  };
}

/** AWS's own examples, with the signatures that they must have. */
const published = {
  'GET Object': example('GET', '/test.txt', 'host;range;x-amz-content-sha256;x-amz-date', 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41', {
    range: 'bytes=0-9',
  }),
  'PUT Object': example(
    'PUT',
    '/test%24file.text',
    'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class',
    '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    {
      date: 'Fri, 24 May 2013 00:00:00 GMT',
      'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
    },
  ),
  'GET Bucket Lifecycle': example(
    'GET',
    '/?lifecycle',
    'host;x-amz-content-sha256;x-amz-date',
    'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
  ),
  'List Objects': example(
    'GET',
    '/?max-keys=2&prefix=J',
    'host;x-amz-content-sha256;x-amz-date',
    '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
  ),
};

test.each(Object.entries(published))('the signature that AWS publishes for its example %s is right, and for nothing else', (_name, request) => {
  expect(signatureProblem(request, secret)).toBeUndefined();
  expect(signatureProblem({ ...request, url: `${request.url}x` }, secret)).toMatch(/another signature/);
  expect(signatureProblem({ ...request, headers: { ...request.headers, 'x-amz-acl': 'public-read' } }, secret)).toBe('x-amz-acl is not signed');
  expect(signatureProblem(request, `${secret}x`)).toMatch(/another signature/);
});
